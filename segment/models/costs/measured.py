"""What nets cost on this machine: parameters, time and memory of one forward pass, measured in turn."""

import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from segment.models.costs.memory import Living
from segment.models.net import SegmentationNet

ROUNDS = 11
ENOUGH = 10.0
"""Seconds a net: after these, three rounds will do."""


class Cost(NamedTuple):
    """Parameters; seconds of the forward pass, median; bytes of all tensors alive at its peak, weights included."""

    parameters: int
    seconds: float
    memory: int


def memory(net: SegmentationNet, image: Tensor) -> int:
    """Bytes of the net's weights and of what one forward pass holds beside them at its peak."""
    weights = sum(t.untyped_storage().nbytes() for t in (*net.parameters(), *net.buffers()))
    if image.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward(net, image)
        return weights + torch.cuda.max_memory_allocated() - before
    with Living() as living:
        forward(net, image)
    return weights + living.peak


@torch.inference_mode()
def forward(net: SegmentationNet, image: Tensor) -> None:
    """uint8 (1,3,H,W) to scores at the image's size, finished when this returns."""
    net(net.normalize(image))
    if image.device.type == "cuda":
        torch.cuda.synchronize()


def measure(nets: Sequence[SegmentationNet], height: int, width: int) -> tuple[list[Cost], str]:
    """Costs of nets on one image of this size, on the device that they are on.

    The nets take turns, so that whatever else the machine does hits them alike.

    Returns:
        Their costs, and a sentence on how they were measured.
    """
    device = nets[0].mean.device
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8).to(device)
    held = [memory(net, image) for net in nets]  # which warms the nets up, too
    seconds: list[list[float]] = [[] for _ in nets]
    begin = time.perf_counter()
    turns = list(zip(nets, seconds, strict=True))
    for turn in range(ROUNDS):
        if turn >= 3 and time.perf_counter() - begin > ENOUGH * len(nets):
            break
        for net, times in reversed(turns) if turn % 2 else turns:
            start = time.perf_counter()
            forward(net, image)
            times.append(time.perf_counter() - start)
    sizes = [sum(parameter.numel() for parameter in net.parameters()) for net in nets]
    costs = [Cost(n, statistics.median(t), m) for n, t, m in zip(sizes, seconds, held, strict=True)]
    how = "all tensors of a forward pass and the weights" if device.type == "cpu" else "allocated on the GPU"
    return costs, (
        f"forward: one image of {width}x{height} (width x height) from bytes to scores, median of {len(seconds[0])} "
        f"alternating passes on {machine(device)}; memory: {how}, at the peak"
    )


def machine(device: torch.device) -> str:
    """The processor that something was measured on, and what ran it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}, torch {torch.__version__}"


def processor() -> str:
    """The name of the machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
