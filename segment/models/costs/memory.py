"""How much memory a net's answer takes, and the parts into which too large an image is cut."""

import weakref
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = 1.75
"""Memory that a pass takes, in that of its tensors: convolutions keep copies of them (measured: 0.4 to 1.6)."""
MARGIN = 128
"""Pixels that the net sees of a part beyond what is kept of it."""


class Living(TorchDispatchMode):
    """The bytes of the tensors that operations make, now and at their peak.

    On a CPU nothing else can be asked: its allocator keeps no peak, and the process holds what it once had. What an
    operation needs for itself and gives back is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in given and key not in self._known:
                    self._known[key] = weakref.finalize(storage, self._gone, key, storage.nbytes())
                    self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        return result

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        del self._known[key]


def bytes_per_pixel(net: nn.Module, side: int = 512) -> float:
    """What one pass takes at most beside the net's weights: bytes for each pixel of the image, from shapes alone."""
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    image = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), Living() as living:
        functional_call(net, shapes, (image,))
    return COPIES * living.peak / side**2


class Span(NamedTuple):
    """A stretch of an image's rows or columns that the net sees, what is kept of it, and where that lies inside."""

    seen: slice
    kept: slice
    inside: slice


def cut(side: int, count: int, stride: int) -> list[Span]:
    """At most ``count`` spans that overlap by two margins at least.

    They are of one length, so that each finds the memory of the one before; of several lengths each would leave some
    behind. They begin on the net's grid, and end on that of the mirrored image.
    """
    length = -(-(side + (count - 1) * (2 * MARGIN + stride)) // (count * stride)) * stride + side % stride
    if length >= side:
        return [Span(*[slice(0, side)] * 3)]
    starts = sorted({(side - length) * i // (count - 1) // stride * stride for i in range(count)})
    # What is kept changes in the middle of an overlap.
    bounds = [0, *[(start + length + after) // 2 for start, after in pairwise(starts)], side]
    return [
        Span(slice(start, start + length), slice(first, last), slice(first - start, last - start))
        for start, (first, last) in zip(starts, pairwise(bounds), strict=True)
    ]
