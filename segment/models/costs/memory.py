"""The memory that a forward pass takes, from the tensors that are alive during it."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = 1.75
"""Memory of a pass as a multiple of its tensors' memory: convolutions keep copies (measured: 0.4 to 1.6)."""


class LiveTensors(TorchDispatchMode):
    """A context that counts the bytes of the tensors that operations create in it and that are still alive.

    A CPU gives no other way: its allocator records no peak, and the process keeps memory that it once had. Memory that
    an operation allocates and frees by itself is not counted.

    Attributes:
        current: bytes of the tensors that are alive now.
        peak: highest value of ``current`` so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._storages: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _meta_result(func, args) if args and isinstance(args[0], Tensor) and args[0].is_meta else None
        result = func(*args, **(kwargs or {})) if result is None else result
        inputs = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in inputs and key not in self._storages:
                    self._storages[key] = weakref.finalize(storage, self._free, key, storage.nbytes())
                    self.current += storage.nbytes()
        self.peak = max(self.peak, self.current)
        return result

    def _free(self, key: int, size: int) -> None:
        self.current -= size
        del self._storages[key]


def _meta_result(func: Any, args: Any) -> Any:
    """Return the result of two kinds of operations on meta tensors, for which torch takes milliseconds; else None."""
    if torch.Tag.pointwise in func.tags and func.__name__.partition(".")[0].endswith("_"):
        return args[0]  # changed in place, and values do not count
    if func is torch.ops.aten.native_batch_norm.default:
        return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
    return None


def bytes_per_pixel(net: nn.Module, side: int = 512) -> float:
    """Estimate the peak memory of a forward pass, without the net's weights, from shapes alone.

    Returns:
        Bytes for each pixel of the image.
    """
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    image = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), LiveTensors() as live:
        functional_call(net, shapes, (image,))
    return COPIES * live.peak / side**2
