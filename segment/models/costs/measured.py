"""Costs of nets as measured on this machine: time and memory of segmenting an image."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.models.costs.memory import LiveTensors
from segment.models.net import SegmentationNet

Segment = Callable[[Tensor], Any]
"""A function that segments an image uint8 (3,H,W)."""
ROUNDS = 11
MOST_IMAGES = 4096
"""Largest batch that is tried."""
TIME_LIMIT = 10.0
"""Seconds per net after which three rounds are enough."""


class MeasuredCost(NamedTuple):
    """Cost of segmenting an image.

    Attributes:
        parameters: number of weights.
        seconds: median time.
        memory: bytes of all tensors at the peak, the weights included.
    """

    parameters: int
    seconds: float
    memory: int


def measure_costs(
    ways: Sequence[tuple[SegmentationNet, Segment]], height: int, width: int
) -> tuple[list[MeasuredCost | str], str]:
    """Measure how each net segments one image of this size, on the device of the nets.

    The nets take turns, so that other load on the machine affects them alike.

    Args:
        ways: each net with the function by which it segments an image.

    Returns:
        The costs, or the error of a net that cannot segment the image; and one sentence on how they were measured.
    """
    device = ways[0][0].mean.device
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8).to(device)
    peaks = [_peak_or_error(net, segment, image) for net, segment in ways]  # also warms the nets up
    seconds = _time_in_turns([way for way, peak in zip(ways, peaks, strict=True) if isinstance(peak, int)], image)
    times = iter(seconds)
    costs = [
        MeasuredCost(sum(weight.numel() for weight in net.parameters()), statistics.median(next(times)), peak)
        if isinstance(peak, int)
        else peak
        for (net, _), peak in zip(ways, peaks, strict=True)
    ]
    rounds = len(seconds[0]) if seconds else 0
    source = "all tensors and the weights" if device.type == "cpu" else "allocated on the GPU"
    return costs, (
        f"ms an image: {width}x{height} (width x height) pixels from bytes to classes by the protocol of the row, in "
        f"float32, median of {rounds} alternating passes on {describe_device(device)}; memory: {source}, at "
        "the peak"
    )


def _peak_or_error(net: SegmentationNet, segment: Segment, image: Tensor) -> int | str:
    """Return :func:`peak_memory`, or the message of the error that ended it: torch's where memory is short, too."""
    try:
        return peak_memory(net, segment, image)
    except Exception as error:
        return " ".join(str(error).split())[:200] or type(error).__name__


def _time_in_turns(ways: Sequence[tuple[SegmentationNet, Segment]], image: Tensor) -> list[list[float]]:
    """Return the seconds of each net's passes: 11 of them, or 3 where they take long."""
    seconds: list[list[float]] = [[] for _ in ways]
    turns, begin = list(zip(ways, seconds, strict=True)), time.perf_counter()
    for index in range(ROUNDS):
        if index >= 3 and time.perf_counter() - begin > TIME_LIMIT * len(ways):
            break
        for (_, segment), times in reversed(turns) if index % 2 else turns:
            start = time.perf_counter()
            _run(segment, image)
            times.append(time.perf_counter() - start)
    return seconds


def peak_memory(net: nn.Module, segment: Segment, image: Tensor) -> int:
    """Return the bytes of the net's weights and of all other tensors at the peak of segmenting one image."""
    weights = sum(t.untyped_storage().nbytes() for t in (*net.parameters(), *net.buffers()))
    if image.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _run(segment, image)
        return weights + torch.cuda.max_memory_allocated() - before
    with LiveTensors() as live:
        _run(segment, image)
    return weights + live.peak


def training_step(net: nn.Module, height: int, width: int) -> Callable[[int], None]:
    """Return a function that trains a net, in 32 bits and with AdamW, for one step on a batch of this many images."""
    optimizer, device = torch.optim.AdamW(net.train().parameters()), next(net.parameters()).device

    def step(count: int) -> None:
        optimizer.zero_grad()
        try:
            scores = net(torch.zeros(count, 3, height, width, device=device))
        except ValueError:  # a batch norm of pooled features needs two images
            count = max(count, 2)
            scores = net(torch.zeros(count, 3, height, width, device=device))
        F.cross_entropy(scores, torch.zeros(count, height, width, dtype=torch.int64, device=device)).backward()
        optimizer.step()

    return step


def largest_batch(step: Callable[[int], None]) -> int:
    """Return the largest number of images, up to :data:`MOST_IMAGES`, for which a step's memory suffices; 0 for none.

    Args:
        step: called with a number of images.
    """
    fits, fails = 0, MOST_IMAGES + 1
    while fails - fits > 1:
        count = (fits + fails) // 2 if fails <= MOST_IMAGES else min(max(2 * fits, 1), MOST_IMAGES)
        try:
            step(count)
            fits = count
        except torch.OutOfMemoryError:
            fails = count
        torch.cuda.empty_cache()  # what a failed step has left in pieces
    return fits


@torch.inference_mode()
def _run(segment: Segment, image: Tensor) -> None:
    """Segment an image, and wait until it is done."""
    segment(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize()


def describe_device(device: torch.device) -> str:
    """Name the processor, its threads and the version of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}, torch {torch.__version__}"


def processor_name() -> str:
    """Name the machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
