"""Bounds for files of weights that may be damaged or untrusted."""

import pickletools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from segment.errors import SegmentError

MAX_DEPTH = 50
"""Levels of dictionaries and lists in a file; a training's checkpoint has about ten."""
MAX_VALUES = 1_000_000
"""Number of values in a file, where a shared reference counts each time: most are fingerprints of training images."""
MAX_OPERATIONS = 2 * MAX_VALUES
"""Number of a pickle's operations, which torch runs in Python: two for a text."""
MAX_PICKLE_BYTES = 2**27
"""Size of a zip's pickle, which has everything but the tensors: a million fingerprints take half of it."""
SPARE_ELEMENTS = 160_000_000
"""Elements that a net may have beyond a checkpoint's: torchvision builds a VGG with its classifier, 138 million."""

SPARE_PARAMETERS = 20_000
"""Parameters that a net may register beyond a checkpoint's tensors: layers of a few elements take memory, too."""


def check_file(path: Path) -> bool:
    """Check a file that ``torch.save`` wrote, as a zip file or as before torch 1.6, without reading its tensors.

    Returns:
        Whether it is a zip file.

    Raises:
        SegmentError: a zip's entry is compressed, overlaps others or is damaged, or a pickle has a type that is refused
            or too many operations.
    """
    with path.open("rb") as file:
        if file.read(4) == b"PK\3\4":  # as torch distinguishes the formats
            _check_archive(path)
            return True
        file.seek(0)
        try:
            for _ in range(5):  # magic number, version, system, content, and keys of the storages, which follow
                _check_pickle(file, path)
        except ValueError:
            pass  # torch, which reads the same bytes, will say that it cannot
    return False


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise SegmentError(f"{path}: refused, it has compressed entries, which torch.save does not write")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise SegmentError(f"{path}: refused, its entries are larger than the file")
            if damaged := archive.testzip():
                raise SegmentError(f"{path} is damaged: the checksum of {damaged[:100]!r} is wrong")
            for entry in entries:
                if entry.filename.lower().endswith(".pkl"):
                    if entry.file_size > MAX_PICKLE_BYTES:
                        raise SegmentError(f"{path}: refused, its values take more than {MAX_PICKLE_BYTES:,} bytes")
                    _check_pickle(BytesIO(archive.read(entry)), path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise SegmentError(f"{path} is damaged or cut off: {str(error)[:150]}") from None


def _check_pickle(file: IO[bytes], path: Path) -> None:
    """Check a pickle by running it on the sizes of its values alone.

    Tuples count with everything inside: as keys they are hashed whole, however often their parts are shared.
    """
    stack: list[int] = []  # 0 is a mark
    memo: dict[Any, int] = {}
    for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
        name, size = operation.name, 1
        if name == "STACK_GLOBAL" or (name == "GLOBAL" and "bytearray" in str(argument)):
            raise SegmentError(f"{path}: refused, it holds a type that torch.save does not write for weights")
        if "PUT" in name:
            memo[argument] = stack[-1] if stack else 1
            continue
        if "GET" in name:
            size = memo.get(argument, 1)
        elif operands := operation.stack_before:
            size += _pop(stack, operands) * ("TUPLE" in name)
        if size > MAX_VALUES or number > MAX_OPERATIONS:
            raise SegmentError(f"{path}: refused, it has more than {MAX_VALUES} values")
        stack.extend(size if kind is not pickletools.markobject else 0 for kind in operation.stack_after)


def _pop(stack: list[int], operands: Sequence[Any]) -> int:
    """Take the operands of an operation, as ``pickletools`` describes them, off the stack; return their total size."""
    total = 0
    if pickletools.markobject in operands:
        while stack and (size := stack.pop()):
            total += size
        operands = operands[: operands.index(pickletools.markobject)]
    return total + sum(stack.pop() for _ in operands if stack)


def check_content(content: Any, path: Any, limit: int = MAX_VALUES) -> None:
    """Check all values of a loaded file, where a shared reference counts each time.

    Raises:
        SegmentError: there are too many values, they are nested too deep, or a tensor is sparse, larger than its
            storage, or without one.
    """
    waiting, number = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            if value.is_meta or value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
                raise SegmentError(f"{path}: refused, it holds a sparse, expanded or empty tensor, expected plain ones")
            continue
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        number += len(parts)
        if number > limit or depth > MAX_DEPTH:
            raise SegmentError(f"{path}: refused, it has more than {limit} values or {MAX_DEPTH} levels")
        waiting.extend((part, depth + 1) for part in parts if isinstance(part, dict | list | tuple | set | Tensor))


def check_finite(state: Mapping[str, Any], source: Any) -> None:
    """Check that all weights and buffers are finite numbers.

    Raises:
        SegmentError: a tensor holds NaN or an infinite value, or is of a type that torch cannot calculate with.
    """
    for key, value in state.items():
        try:
            finite = not isinstance(value, Tensor) or not value.is_floating_point() or torch.isfinite(value).all()
        except NotImplementedError:  # numbers of 4 bits
            raise SegmentError(f"{source}: refused, {key[:100]} has the type {value.dtype}") from None
        if not finite:
            raise SegmentError(f"{source} is damaged: {key[:100]} holds values that are not finite")


@contextmanager
def bounded_build(state: Mapping[str, Any]) -> Iterator[None]:
    """Stop the building of a net that gets much larger than a checkpoint's weights.

    Args:
        state: the weights.

    Raises:
        SegmentError: the net is too large.
    """
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    stored = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() // value.itemsize for value in tensors
    }
    left = SPARE_ELEMENTS + sum(stored.values())
    places = SPARE_PARAMETERS + 4 * len(state)  # torch registers some parameters more than once

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left, places
        left -= parameter.numel() if parameter is not None else 0
        places -= 1
        if left < 0 or places < 0:
            raise SegmentError("refused, its configuration builds a net larger than its weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
