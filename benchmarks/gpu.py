"""Latency and training speed on a GPU, beside torchfcn, torchvision and smp, and whether the loader keeps up.

    python -m benchmarks.gpu --root DIR                               # DIR holds VOCdevkit/VOC2012, for the loader
    python -m benchmarks.gpu --device cpu --side 64 --batch 2 --runs 1 --times 1 --modes eager  # a trial without a GPU

Each mode adds to the one before: eager in 32 bits (a GPU's convolutions in TF32, torch's default), channels last,
bfloat16, compiled. Sides take turns in each mode; times are medians of calls, each with the device idle before and
after. Training is forward and backward pass, without an optimiser. The FCN paper's figure is 175 ms an image of
500x500. A row that fails, for want of memory for one, is said and left out, and the exit code tells.

Where a row is slow, ``--profile`` names the operations in which its training step spends the most time, with the
shapes of what they take, and ``--search`` shows what trainer.benchmark=true brings:

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
from segment.data.datamodule import cores
from segment.data.datasets.voc import VOCDataModule
from segment.errors import SegmentError
from segment.report import number_from

PEERS = ("torchvision", "segmentation-models-pytorch", "torchfcn")
MODES = ("eager", "channels_last", "bf16", "compiled")
BATCHES = 100
"""At least so many of the loader's are timed in a pass."""
LONGEST = 5
"""So many operations of a training step are named."""


def prepare(net: nn.Module, mode: str, device: torch.device) -> nn.Module:
    """The net on its device, as ``mode`` wants it."""
    rank = MODES.index(mode)
    net = net.to(device, memory_format=torch.channels_last if rank >= 1 else torch.contiguous_format)
    if rank >= 3:
        net.compile(dynamic=False)  # or the batch's size is a symbol once a second one was seen, which costs speed
    return net


def timed(work: Callable[[], None], device: torch.device, times: int) -> float:
    """Seconds of one call, the median of several; the device is idle before and after each."""
    idle = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds = []
    work()  # a mode's first call may compile, and choose algorithms
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
    """A row: milliseconds of an image's forward pass and trained images a second, ours and theirs."""
    device = torch.device(arguments.device)
    nets = {who: prepare(net, mode, device) for who, net in pair(name).items()}
    side = arguments.side or PAIRS[name][2]
    layout = torch.channels_last if MODES.index(mode) >= 1 else torch.contiguous_format
    one, many = (torch.randn(n, 3, side, side, device=device).to(memory_format=layout) for n in (1, arguments.batch))
    target = torch.randint(21, (arguments.batch, side, side), device=device)
    row: dict = {"what": name, "mode": mode, "side": side, "batch": arguments.batch}
    for key, work, words in (("forward", forward, (one, mode)), ("train", training_step, (many, mode, target))):
        sides = {
            who: partial(timed, partial(work, net.train(key == "train"), *words), device, arguments.times)
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
        except RuntimeError as error:  # what was measured stays
            print(f"{name}, {mode}: not profiled: {error}", file=sys.stderr)
    return row


def longest(work: Callable[[], None], device: torch.device) -> list[dict]:
    """The operations that take the most time, those of equal shapes together."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, record_shapes=True) as seen:
        work()
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # A GPU's kernels are events of their own, too, and their time is also that of the operation that starts them.
    events = [event for event in seen.key_averages(group_by_input_shape=True) if event.device_type == DeviceType.CPU]
    times = {event: getattr(event, key) / 1e3 for event in events}
    total = sum(times.values())
    if not total:
        raise RuntimeError("torch's profiler saw no time on the GPU: CUPTI is missing, or the driver does not allow it")
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
    """Ours / theirs, and the ratio of the times."""
    values = " / ".join(f"{row[f'{key}_{who}']:.1f}" for who in ("ours", "theirs") if f"{key}_{who}" in row)
    return values + (f" {row[f'{key}_time_ratio']:6.2f}" if f"{key}_time_ratio" in row else "")


def loaders(root: str) -> list[VOCDataModule]:
    """VOC's training split in batches of 8 and crops of 512, augmented as in a run, with two numbers of workers."""
    found = []
    for workers in sorted({min(8, cores()), min(16, cores())}):  # 8 are what a run has by default
        data = VOCDataModule(
            root, batch_size=8, num_workers=workers, crop_size=(512, 512), cat_max_ratio=0.75, colour=0.5
        )
        data.setup("fit")  # what is wrong with the data is said before all else takes its time
        wanted, there = 8 * (early(data) + BATCHES), len(data.dataset("train"))
        if there < wanted:
            raise SegmentError(f"with {workers} workers the loader's rate takes {wanted} training images, not {there}")
        found.append(data)
    return found


def early(data: VOCDataModule) -> int:
    """Batches that the workers have ready or nearly so when the first one comes, and that are not counted."""
    return 3 * data.num_workers


def delivered(data: VOCDataModule, passes: int) -> float:
    """Images of a loader a second."""
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
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="one after the other")
    parser.add_argument("--only", default="", help="measure the pairs alone whose names have this in them")
    parser.add_argument(
        "--side", type=number_from(32), help="of the image, in pixels; by default each pair's, 500 or 512"
    )
    parser.add_argument("--batch", type=number_from(2), default=8, help="images of a training step")
    parser.add_argument("--runs", type=number_from(1), default=5, help="turns of each side")
    parser.add_argument("--times", type=number_from(1), default=20, help="calls in a turn")
    parser.add_argument("--search", action="store_true", help="torch.backends.cudnn.benchmark: try cuDNN's algorithms")
    parser.add_argument("--profile", action="store_true", help="name the longest operations of each training step")
    parser.add_argument("--root", help="folder that holds VOCdevkit/VOC2012; without it the loader is left out")
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
        torch.cuda.set_device(torch.device(arguments.device).index or 0)  # whose end the clock waits for
        device = torch.cuda.get_device_name()
    torch.backends.cudnn.benchmark = arguments.search
    rows: list[dict] = [{"what": "device", "name": device}]
    print(f"{'ours / theirs':36}{'mode':14}{'forward, ms; time ratio':>28}{'images/s trained; time ratio':>29}")
    table = "gpu" + "_search" * arguments.search + "_part" * bool(arguments.only)
    for name, mode in itertools.product(chosen(arguments.only), arguments.modes):
        try:
            row = measure(name, mode, arguments)
            said = f"{cell(row, 'forward'):>28}{cell(row, 'train'):>29}"
        except RuntimeError as error:  # memory, a compiler, a kernel
            row = {"what": name, "mode": mode, "error": str(error) or type(error).__name__}
            said = f"  failed: {row['error'].strip().splitlines()[0]}"
        print(f"{name:36}{mode:14}{said}", flush=True)
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
            print(f"    {name}: trains {trained:.0f} at best; the loader {verdict}")
    keep(table, rows, *PEERS)
    searched = ", cuDNN's algorithms tried" * arguments.search
    print(
        f"{device}, torch {torch.__version__}{searched}, medians of {arguments.runs} turns of {arguments.times} calls"
    )
    failed = sum("error" in row for row in rows)
    if failed:
        sys.exit(f"error: {failed} rows failed, see above")


if __name__ == "__main__":
    run(main)
