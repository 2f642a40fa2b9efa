"""Bounds for files of weights that may be damaged or untrusted."""

import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from segment.errors import SegmentError

MAX_DEPTH = 50
"""Levels of dictionaries and lists in a file; a training's checkpoint has about ten."""
MAX_VALUES = 2_000_000
"""Number of values in a checkpoint's metadata, most of them fingerprints of training images."""
SPARE_ELEMENTS = 160_000_000
"""Elements that a net may have beyond a checkpoint's: torchvision builds a VGG with its classifier, 138 million."""


def check_archive(path: Path) -> None:
    """Check the zip file that ``torch.save`` writes: entries as stored, checksums, and no type that allocates memory.

    Raises:
        SegmentError: an entry is compressed, overlaps others or is damaged, or the pickle has a type that is refused.
    """
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
                if entry.filename.endswith(".pkl"):
                    _check_pickle(archive.read(entry), path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise SegmentError(f"{path} is damaged: {str(error)[:150]}") from None


def _check_pickle(content: bytes, path: Path) -> None:
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "STACK_GLOBAL" or (operation.name == "GLOBAL" and "bytearray" in str(argument)):
            raise SegmentError(f"{path}: refused, it holds a type that torch.save does not write for weights")


def check_content(content: Any, path: Path) -> None:
    """Check all values of a loaded file; references that are shared are visited once.

    Raises:
        SegmentError: values are nested too deep, or a tensor is sparse or larger than its storage.
    """
    visited: set[int] = set()
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
                raise SegmentError(f"{path}: refused, it holds a sparse or expanded tensor, expected plain ones")
        elif isinstance(value, Mapping | list | tuple) and id(value) not in visited:
            if depth > MAX_DEPTH:
                raise SegmentError(f"{path}: refused, its values are nested more than {MAX_DEPTH} levels deep")
            visited.add(id(value))
            children = value.values() if isinstance(value, Mapping) else value
            waiting.extend((child, depth + 1) for child in children)


def check_finite(state: Mapping[str, Any], source: Any) -> None:
    """Check that all weights and buffers are finite numbers.

    Raises:
        SegmentError: a tensor holds NaN or an infinite value.
    """
    for key, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            raise SegmentError(f"{source} is damaged: {key[:100]} holds values that are not finite")


def check_size(metadata: Any, path: Any) -> None:
    """Check the number of values in a checkpoint's metadata, where a shared reference counts each time.

    Raises:
        SegmentError: there are too many, or they are nested too deep.
    """
    waiting, number = [(metadata, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        number += 1
        if number > MAX_VALUES or depth > MAX_DEPTH:
            raise SegmentError(f"{path}: refused, its metadata has more than {MAX_VALUES} values or {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            waiting.extend((part, depth + 1) for pair in value.items() for part in pair)
        elif isinstance(value, list | tuple):
            waiting.extend((part, depth + 1) for part in value)


@contextmanager
def bounded_build(state: Mapping[str, Any], source: Any) -> Iterator[None]:
    """Stop the building of a net that gets much larger than a checkpoint's weights.

    Args:
        state: the weights.
        source: name of the checkpoint, for the error message.

    Raises:
        SegmentError: the net is too large.
    """
    left = SPARE_ELEMENTS + sum(value.numel() for value in state.values() if isinstance(value, Tensor))

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= parameter.numel() if parameter is not None else 0
        if left < 0:
            raise SegmentError(f"{source}: refused, its configuration builds a net larger than its weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
