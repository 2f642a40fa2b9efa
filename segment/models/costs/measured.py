"""Costs of nets as measured on this machine: time and memory of a forward pass."""

import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from segment.models.costs.memory import LiveTensors
from segment.models.net import SegmentationNet

ROUNDS = 11
TIME_LIMIT = 10.0
"""Seconds per net after which three rounds are enough."""


class MeasuredCost(NamedTuple):
    """Cost of a forward pass.

    Attributes:
        parameters: number of weights.
        seconds: median time of a forward pass.
        memory: bytes of all tensors at the peak of a forward pass, the weights included.
    """

    parameters: int
    seconds: float
    memory: int


def measure_costs(nets: Sequence[SegmentationNet], height: int, width: int) -> tuple[list[MeasuredCost], str]:
    """Measure forward passes on one image of this size, on the device of the nets.

    The nets take turns, so that other load on the machine affects them alike.

    Returns:
        The costs, and one sentence on how they were measured.
    """
    device = nets[0].mean.device
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8).to(device)
    memory = [peak_memory(net, image) for net in nets]  # also warms the nets up
    seconds = _time_in_turns(nets, image)
    parameters = [sum(parameter.numel() for parameter in net.parameters()) for net in nets]
    costs = [MeasuredCost(n, statistics.median(t), m) for n, t, m in zip(parameters, seconds, memory, strict=True)]
    source = "all tensors of a forward pass and the weights" if device.type == "cpu" else "allocated on the GPU"
    return costs, (
        f"forward: one image of {width}x{height} (width x height) from bytes to scores, median of {len(seconds[0])} "
        f"alternating passes on {describe_device(device)}; memory: {source}, at the peak"
    )


def _time_in_turns(nets: Sequence[SegmentationNet], image: Tensor) -> list[list[float]]:
    """Return the seconds of each net's forward passes: 11 of them, or 3 where they take long."""
    seconds: list[list[float]] = [[] for _ in nets]
    turns, begin = list(zip(nets, seconds, strict=True)), time.perf_counter()
    for index in range(ROUNDS):
        if index >= 3 and time.perf_counter() - begin > TIME_LIMIT * len(nets):
            break
        for net, times in reversed(turns) if index % 2 else turns:
            start = time.perf_counter()
            run_forward(net, image)
            times.append(time.perf_counter() - start)
    return seconds


def peak_memory(net: SegmentationNet, image: Tensor) -> int:
    """Return the bytes of the net's weights and of all other tensors at the peak of one forward pass."""
    weights = sum(t.untyped_storage().nbytes() for t in (*net.parameters(), *net.buffers()))
    if image.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_forward(net, image)
        return weights + torch.cuda.max_memory_allocated() - before
    with LiveTensors() as live:
        run_forward(net, image)
    return weights + live.peak


@torch.inference_mode()
def run_forward(net: SegmentationNet, image: Tensor) -> None:
    """Map uint8 (1,3,H,W) to scores at the image's size, and wait until they are computed."""
    net(net.normalize(image))
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
