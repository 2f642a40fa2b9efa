"""Latency and training speed on a GPU beside torchfcn, torchvision and smp, and the throughput of the loader.

    python -m benchmarks.gpu --root DIR                               # DIR holds VOCdevkit/VOC2012, for the loader
    python -m benchmarks.gpu --device cpu --side 64 --batch 2 --runs 1 --times 1 --modes eager  # a trial without a GPU

Each mode adds one thing to the mode before it: eager in 32 bits (a GPU's convolutions in TF32, torch's default),
channels last, bfloat16, compiled, and replayed as CUDA graphs (torch.compile's "reduce-overhead"). The sides take turns
in each mode. Times are medians of calls, and the device is idle before and after each call. Training is a forward and a
backward pass without an optimiser. The FCN paper reports 175 ms for an image of 500x500. A row that fails, for example
for lack of memory, is reported and left out, and the exit code is then 1.

For a row that is slow, ``--profile`` lists the longest operations of its training step with the shapes of their inputs.
``--search`` measures with cuDNN's search, as trainer.benchmark=true does.

    python -m benchmarks.gpu --only "padding 1" --modes channels_last bf16 --profile
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.models import PAIRS, chosen, pair
from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.data.datasets.voc import VOCDataModule
from segment.data.workers import cores
from segment.errors import SegmentError
from segment.report import number_from

PEERS = ("torchvision", "segmentation-models-pytorch", "torchfcn")
MODES = ("eager", "channels_last", "bf16", "compiled", "graphs")
BATCHES = 100
"""Minimum number of the loader's batches that are timed in a pass."""
LONGEST = 5
"""Number of operations of a training step that are listed."""


def prepare(net: nn.Module, mode: str, device: torch.device) -> nn.Module:
    """Return the net on its device, prepared for ``mode``."""
    rank = MODES.index(mode)
    net = net.to(device, memory_format=torch.channels_last if rank >= 1 else torch.contiguous_format)
    if rank >= 3:
        how = "reduce-overhead" if mode == "graphs" else "default"
        net.compile(dynamic=False, mode=how)  # otherwise a second batch size makes the size symbolic, which is slower
    return net


def timed(work: Callable[[], None], device: torch.device, times: int) -> float:
    """Return the seconds of one call, the median of several; the device is idle before and after each."""
    idle = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds = []
    work()  # the first call of a mode may compile and choose algorithms
    for _ in range(times):
        idle()
        start = time.perf_counter()
        work()
        idle()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def forward(net: nn.Module, image: torch.Tensor, mode: str) -> None:
    with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, MODES.index(mode) >= 2):
        net(image)


def training_step(net: nn.Module, image: torch.Tensor, mode: str, target: torch.Tensor) -> None:
    with torch.autocast(image.device.type, torch.bfloat16, MODES.index(mode) >= 2):
        scores = net(image)
        scores = scores["out"] if isinstance(scores, dict) else scores
        loss = F.cross_entropy(scores, target)
    loss.backward()
    net.zero_grad(set_to_none=True)


def measure(name: str, mode: str, arguments: argparse.Namespace) -> dict:
    """Return a row: milliseconds of one image's forward pass and images per second in training, for both sides."""
    device = torch.device(arguments.device)
    nets = {who: prepare(net, mode, device) for who, net in pair(name).items()}
    side = arguments.side or PAIRS[name][2]
    layout = torch.channels_last if MODES.index(mode) >= 1 else torch.contiguous_format
    one, many = (torch.randn(n, 3, side, side, device=device).to(memory_format=layout) for n in (1, arguments.batch))
    target = torch.randint(21, (arguments.batch, side, side), device=device)
    row: dict = {"what": name, "mode": mode, "side": side, "batch": arguments.batch}
    for key, work, inputs in (("forward", forward, (one, mode)), ("train", training_step, (many, mode, target))):
        sides = {
            who: partial(timed, partial(work, net.train(key == "train"), *inputs), device, arguments.times)
            for who, net in nets.items()
        }
        seconds = take_turns(sides, arguments.runs)
        for who, values in seconds.items():
            median = statistics.median(values)
            row[f"{key}_{who}"] = median * 1e3 if key == "forward" else arguments.batch / median
        if len(nets) > 1:
            row[f"{key}_time_ratio"] = ratio(seconds, "ours", "theirs")
    if arguments.profile:
        try:
            row["longest"] = {
                who: longest(partial(training_step, net, many, mode, target), device) for who, net in nets.items()
            }
        except RuntimeError as error:  # keep what was measured
            print(f"{name}, {mode}: not profiled: {error}", file=sys.stderr)
    return row


def longest(work: Callable[[], None], device: torch.device) -> list[dict]:
    """Return the operations that take the most time; operations of equal shapes count together."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, record_shapes=True) as profiler:
        work()
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # A GPU's kernels are events too, and their time is already part of the operation that starts them.
    events = [
        event for event in profiler.key_averages(group_by_input_shape=True) if event.device_type == DeviceType.CPU
    ]
    times = {event: getattr(event, key) / 1e3 for event in events}
    total = sum(times.values())
    if not total:
        raise RuntimeError(
            "torch's profiler measured no time on the GPU: CUPTI is missing, or the driver forbids profiling"
        )
    return [
        {
            "operation": event.key,
            "ms": times[event],
            "share": times[event] / total,
            "shapes": [shape for shape in event.input_shapes if shape],
        }
        for event in sorted(events, key=times.__getitem__, reverse=True)[:LONGEST]
    ]


def cell(row: dict, key: str) -> str:
    """Format ours / theirs, and the ratio of the times."""
    values = " / ".join(f"{row[f'{key}_{who}']:.1f}" for who in ("ours", "theirs") if f"{key}_{who}" in row)
    return values + (f" {row[f'{key}_time_ratio']:6.2f}" if f"{key}_time_ratio" in row else "")


def loaders(root: str) -> list[VOCDataModule]:
    """Return VOC's training split in batches of 8 and crops of 512, augmented, with one or two numbers of workers."""
    found = []
    for workers in sorted({min(8, cores()), min(16, cores())}):  # 8 is a run's default
        data = VOCDataModule(
            root, batch_size=8, num_workers=workers, crop_size=(512, 512), cat_max_ratio=0.75, colour=0.5
        )
        data.setup("fit")  # a fault of the data shows before the long measurements
        needed, images = 8 * (early(data) + BATCHES), len(data.dataset("train"))
        if images < needed:
            raise SegmentError(
                f"--root: timing {workers} workers takes {needed} training images, but there are {images}"
            )
        found.append(data)
    return found


def early(data: VOCDataModule) -> int:
    """Return the number of batches that workers prepare before the first one is taken; they are not timed."""
    return 3 * data.num_workers


def delivered(data: VOCDataModule, passes: int) -> float:
    """Return the images per second of a loader."""
    batches, rates = data.train_dataloader(), []
    for _ in range(passes):
        for number, _ in enumerate(batches, 1):
            end = time.perf_counter()
            if number == early(data):
                start = end
        rates.append(data.batch_size * (len(batches) - early(data)) / (end - start))
    return statistics.median(rates)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ... or cpu")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="measured in turn")
    parser.add_argument("--only", default="", help="measure only pairs whose name contains this")
    parser.add_argument(
        "--side", type=number_from(32), help="side of the image in pixels; default 500 or 512, set for each pair"
    )
    parser.add_argument("--batch", type=number_from(2), default=8, help="images of a training step")
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    parser.add_argument("--times", type=number_from(1), default=20, help="calls in a turn")
    parser.add_argument("--search", action="store_true", help="torch.backends.cudnn.benchmark: try cuDNN's algorithms")
    parser.add_argument("--profile", action="store_true", help="name the longest operations of each training step")
    parser.add_argument("--root", help="folder that holds VOCdevkit/VOC2012; without it the loader is not measured")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            "there is no GPU that torch can use: --device cpu --side 64 --batch 2 --runs 1 --times 1 is a trial"
        )
    if arguments.device not in {"cpu", "cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))}:
        parser.error(f"--device {arguments.device}: expected cuda, cuda:N of {torch.cuda.device_count()} GPUs, or cpu")
    modules = loaders(arguments.root) if arguments.root else []
    device = "no GPU"
    if arguments.device != "cpu":
        torch.cuda.set_device(torch.device(arguments.device).index or 0)  # the device that synchronize waits for
        device = torch.cuda.get_device_name()
    torch.backends.cudnn.benchmark = arguments.search
    rows: list[dict] = [{"what": "device", "name": device}]
    print(f"{'ours / theirs':36}{'mode':14}{'forward, ms; time ratio':>28}{'images/s trained; time ratio':>29}")
    table = "gpu" + "_search" * arguments.search + "_part" * bool(arguments.only)
    for name, mode in itertools.product(chosen(arguments.only), arguments.modes):
        try:
            row = measure(name, mode, arguments)
            cells = f"{cell(row, 'forward'):>28}{cell(row, 'train'):>29}"
        except RuntimeError as error:  # memory, a compiler, a kernel
            row = {"what": name, "mode": mode, "error": str(error) or type(error).__name__}
            cells = f"  failed: {row['error'].strip().splitlines()[0]}"
        print(f"{name:36}{mode:14}{cells}", flush=True)
        for who, events in row.get("longest", {}).items():
            for event in events:
                shapes = " ".join(str(shape).replace(" ", "") for shape in event["shapes"])
                print(f"    {who:7}{event['ms']:9.2f} ms {event['share']:4.0%}  {event['operation']} {shapes}")
        rows.append(row)
        keep(table, rows, *PEERS)
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    best: dict[str, float] = {}
    for row in rows:
        if "train_ours" in row:
            best[row["what"]] = max(best.get(row["what"], 0.0), row["train_ours"])
    for data in modules:
        rate = delivered(data, arguments.runs)
        rows.append({"what": "loader", "images_per_second": rate, "workers": data.num_workers})
        print(f"the loader delivers {rate:.0f} images/s with {data.num_workers} workers")
        for name, trained in best.items():
            verdict = "keeps up" if rate >= trained else "DOES NOT KEEP UP"
            print(f"    {name}: trains at most {trained:.0f} images/s; the loader {verdict}")
    keep(table, rows, *PEERS)
    searched = ", with cuDNN's search" * arguments.search
    print(
        f"{device}, torch {torch.__version__}{searched}, medians of {arguments.runs} turns of {arguments.times} calls"
    )
    failed = sum("error" in row for row in rows)
    if failed:
        sys.exit(f"error: {failed} rows failed, see above")


if __name__ == "__main__":
    run(main)
