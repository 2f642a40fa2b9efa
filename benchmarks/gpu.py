"""Latency and training speed on a GPU, beside torchfcn, torchvision and smp, and whether the loader keeps up.

    python -m benchmarks.gpu --root DIR                               # DIR holds VOCdevkit/VOC2012, for the loader
    python -m benchmarks.gpu --device cpu --side 64 --batch 2 --runs 1 --modes eager      # a trial without a GPU

Each mode adds to the one before: eager in 32 bits (a GPU's convolutions in TF32, torch's default), channels last,
bfloat16, compiled. Sides take turns in each mode; times are medians, with the device idle before and after. Training is
forward and backward pass, without an optimiser. The FCN paper's figure is 175 ms an image of 500x500.
"""

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.models import PAIRS
from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.data.datamodule import cores
from segment.data.voc import VOCDataModule

PEERS = ("torchvision", "segmentation-models-pytorch", "torchfcn")
MODES = ("eager", "channels_last", "bf16", "compiled")


def prepare(net: nn.Module, mode: str, device: torch.device) -> nn.Module:
    """The net on its device, as ``mode`` wants it."""
    rank = MODES.index(mode)
    net = net.to(device, memory_format=torch.channels_last if rank >= 1 else torch.contiguous_format)
    if rank >= 3:
        net.compile()
    return net


def timed(work: Callable[[], None], device: torch.device, times: int) -> float:
    """Seconds of one call, over several between two moments at which the device is idle."""
    idle = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    work()  # a mode's first call may compile, and choose algorithms
    idle()
    start = time.perf_counter()
    for _ in range(times):
        work()
    idle()
    return (time.perf_counter() - start) / times


def forward(net: nn.Module, image: torch.Tensor, mode: str) -> None:
    with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, MODES.index(mode) >= 2):
        net.eval()(image)


def training_step(net: nn.Module, image: torch.Tensor, target: torch.Tensor, mode: str) -> None:
    with torch.autocast(image.device.type, torch.bfloat16, MODES.index(mode) >= 2):
        scores = net.train()(image)
        scores = scores["out"] if isinstance(scores, dict) else scores
        loss = F.cross_entropy(scores, target)
    loss.backward()
    net.zero_grad(set_to_none=True)


def measure(name: str, mode: str, arguments: argparse.Namespace) -> dict:
    """A row: milliseconds of an image's forward pass and trained images a second, ours and theirs."""
    device = torch.device(arguments.device)
    make_ours, make_theirs, side, _ = PAIRS[name]
    nets = {"ours": prepare(make_ours(), mode, device)}
    try:
        nets["theirs"] = prepare(make_theirs(), mode, device)
    except ImportError as error:
        print(f"{name}: without the peer, {error}")
    side = arguments.side or side
    layout = torch.channels_last if MODES.index(mode) >= 1 else torch.contiguous_format
    one, many = (torch.randn(n, 3, side, side, device=device).to(memory_format=layout) for n in (1, arguments.batch))
    target = torch.randint(21, (arguments.batch, side, side), device=device)
    row: dict = {"what": name, "mode": mode, "side": side, "batch": arguments.batch}
    for key, work in (
        ("forward", lambda net: forward(net, one, mode)),
        ("train", lambda net: training_step(net, many, target, mode)),
    ):
        seconds = take_turns(
            {
                who: functools.partial(timed, functools.partial(work, net), device, arguments.times)
                for who, net in nets.items()
            },
            arguments.runs,
        )
        for who, values in seconds.items():
            median = statistics.median(values)
            row[f"{key}_{who}"] = median * 1e3 if key == "forward" else arguments.batch / median
        if len(nets) > 1:
            row[f"{key}_time_ratio"] = ratio(seconds, "ours", "theirs")
    return row


def loader(root: str, images: int, workers: int) -> float:
    """Images of VOC's training split a second, in batches of 8 and crops of 512, as a run augments them.

    The first three batches of each worker, which it has ready or nearly so when the first one comes, are not counted.
    """
    data = VOCDataModule(root, batch_size=8, num_workers=workers, crop_size=(512, 512), colour=0.5)
    count, start = 0, 0.0
    for batch in itertools.islice(data.train_dataloader(), 3 * workers, None):
        if not start:
            start = time.perf_counter()
            continue
        count += len(batch["image"])
        if count >= images:
            break
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ... or cpu")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="one after the other")
    parser.add_argument("--side", type=int, help="of the image, in pixels; by default each pair's own, 500 or 512")
    parser.add_argument("--batch", type=int, default=8, help="images of a training step")
    parser.add_argument("--runs", type=int, default=5, help="turns of each side")
    parser.add_argument("--times", type=int, default=20, help="calls in a turn")
    parser.add_argument("--root", help="folder that holds VOCdevkit/VOC2012; without it the loader is left out")
    arguments = parser.parse_args()
    if arguments.root and not Path(arguments.root).is_dir():
        parser.error(f"--root {arguments.root} is no folder")
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use: --device cpu --side 64 --batch 2 --runs 1 is a trial without")
    if arguments.device not in {"cpu", "cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))}:
        parser.error(f"--device {arguments.device}: expected cuda, cuda:N of {torch.cuda.device_count()} GPUs, or cpu")
    if arguments.device != "cpu":
        torch.cuda.set_device(torch.device(arguments.device).index or 0)  # whose end the clock waits for
    rows = []
    print(f"{'':36}{'mode':14}{'forward, ms: ours / theirs':>28}{'images/s trained':>24}")
    for name in PAIRS:
        for mode in arguments.modes:
            row = measure(name, mode, arguments)
            rows.append(row)
            keep("gpu", rows, *PEERS)  # each row, since a later one may not fit the memory
            cells = [
                " / ".join(f"{row[f'{key}_{who}']:.1f}" for who in ("ours", "theirs") if f"{key}_{who}" in row)
                for key in ("forward", "train")
            ]
            print(f"{name:36}{mode:14}{cells[0]:>28}{cells[1]:>24}", flush=True)
            torch._dynamo.reset()
    if arguments.root:
        for workers in sorted({min(8, cores()), cores()}):  # 8 are what a run has by default
            rate = loader(arguments.root, 800, workers)
            rows.append({"what": "loader", "images_per_second": rate, "workers": workers})
            print(f"the loader delivers {rate:.0f} images/s with {workers} workers")
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "no GPU"
    rows.append({"what": "device", "name": device})
    print(f"{device}, torch {torch.__version__}, medians of {arguments.runs} turns of {arguments.times} calls")
    keep("gpu", rows, *PEERS)


if __name__ == "__main__":
    run(main)
