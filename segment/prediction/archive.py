"""Archives of masks for the evaluation servers of data sets: what all of them have in common."""

import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from segment.data.datamodule import SegmentationDataModule
from segment.data.datasets.ade20k import ADE20KDataModule
from segment.data.datasets.voc import VOCDataModule
from segment.data.headers import open_image
from segment.data.pairs import Finding
from segment.data.png import PNG, unpack_png
from segment.errors import SegmentError

COMPETITIONS = {"comp5": "trained on VOC's own data alone", "comp6": "trained on any data, such as ImageNet"}
SERVERS = {"voc": (VOCDataModule, "PASCAL VOC's images"), "ade20k": (ADE20KDataModule, "ADE20K's images")}
"""Data set of each server."""
MASK_BYTES = 2**24
"""Largest part of a mask's file that is read, in bytes. VOC's masks have some thousands."""
LabelFault = Callable[[PurePosixPath, list[int], list[int] | None], Finding | None]
"""Function from a file's name, its labels in ascending order and its palette, None for a grey mask, to its fault."""


def image_sizes(data: SegmentationDataModule, split: str) -> dict[str, tuple[int, int]]:
    """Return (width, height) of a split's images by id, read from the files' headers."""
    sizes = {}
    for sample in data.dataset(split).samples:
        with open_image(sample.image) as image:
            sizes[sample.id] = image.size
    return sizes


def check_submit_options(server: str, competition: str, data: Any) -> None:
    """Check that the server and the competition exist and that the data set is the server's.

    Raises:
        SegmentError: one of them is something else.
    """
    if server not in SERVERS:
        raise SegmentError(f"submit={server}: expected {' or '.join(SERVERS)}, or null to compute metrics")
    if competition not in COMPETITIONS:
        known = " or ".join(f"{name} ({meaning})" for name, meaning in COMPETITIONS.items())
        raise SegmentError(f"competition={competition}: expected {known}")
    kind, images = SERVERS[server]
    if not isinstance(data, kind):
        found = type(data).__name__
        raise SegmentError(f"submit={server}: expected {images} (data={server} data.root=DIR), got {found}")


def mask_fault(name: PurePosixPath, content: bytes, size: tuple[int, int], label_fault: LabelFault) -> Finding | None:
    """Return the fault of a file that is not a mask for an image of this (width, height).

    Args:
        label_fault: see :data:`LabelFault`.
    """
    if not content.startswith(PNG):
        return Finding("unreadable", f"{name} is not a PNG")
    try:
        with warnings.catch_warnings(action="ignore"), open_image(BytesIO(content)) as image:  # PIL warns of large ones
            if image.size != size:
                got, expected = (f"{w}x{h}" for w, h in (image.size, size))
                return Finding("size", f"{name} is {got}, its image {expected} (width x height)")
            if image.mode not in {"P", "L"}:
                return Finding("mode", f"{name} has mode {image.mode}: expected class indices, a PNG of mode P (or L)")
            unpack_png(content)
            labels = np.unique(np.asarray(image)).tolist()
            palette = image.getpalette() or [] if image.mode == "P" else None
    except UnidentifiedImageError:
        return Finding("unreadable", f"{name} is not a readable PNG: its header is damaged")
    except Exception as error:  # PIL may raise anything on a broken file
        return Finding("unreadable", f"{name} is not a readable PNG: {error or type(error).__name__}")
    return label_fault(name, labels, palette)


def cut_off(path: Path, kind: str, read: int, error: Exception) -> Finding:
    """Return the fault of an archive that could be read only up to a number of files."""
    return Finding("archive", f"{path.name} is not a complete {kind}: reading failed after {read} files: {error}")


def missing_images(found: Container[str], sizes: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a fault for each image that has no mask.

    Args:
        found: ids of the images with a mask.
        sizes: by the ids of all images of the split.
    """
    for image in sizes:
        if image not in found:
            yield Finding("missing image", f"{image}.png is missing: the split has {len(sizes)} images")
