"""How much memory a net's answer takes, and the parts into which too large an image is cut."""

import weakref
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


class _Live(TorchDispatchMode):
    """Bytes of the tensors alive, now and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def forget(_: weakref.ref) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, forget)
        self.now += size
        self.most = max(self.most, self.now)


def bytes_per_pixel(net: nn.Module, side: int = 512) -> float:
    """What one pass takes at most beside the net's weights: bytes for each pixel of the image, from shapes alone."""
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    image = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), _Live() as live:
        functional_call(net, shapes, (image,))
    return COPIES * live.most / side**2


class Span(NamedTuple):
    """A stretch of an image's rows or columns that the net sees, what is kept of it, and where that lies inside."""

    seen: slice
    kept: slice
    inside: slice


def cut(side: int, count: int, stride: int = 1) -> list[Span]:
    """At most ``count`` spans of nearly one length, with a margin at inner borders.

    They begin on the net's grid, and end on that of the mirrored image.
    """
    length = -(-side // (count * stride)) * stride
    spans = []
    for first in range(0, side, length):
        last = min(first + length, side)
        start = max(0, first - MARGIN) // stride * stride
        stop = side - max(0, side - last - MARGIN) // stride * stride
        spans.append(Span(slice(start, stop), slice(first, last), slice(first - start, last - start)))
    return spans
