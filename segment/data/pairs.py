"""Pairs of image and mask on disk: checking and reading."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import escape
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor, from_numpy

from segment.data.headers import ImageHeader, image_header, mask_header, turn
from segment.data.images import Reading, read_failure, read_image
from segment.data.labels import Labels
from segment.data.unknown_values import UnknownValues
from segment.errors import SegmentError
from segment.files import kind


class Drawing(Protocol):
    """Mask that is drawn from a file of outlines."""

    def frame_problem(self, image: ImageHeader) -> "Finding | None":
        """Return a problem if the outlines do not belong to an image of this size."""

    def draw(self, image: ImageHeader) -> np.ndarray:
        """Return the labels uint8 (H,W) of the upright image.

        Raises:
            SegmentError: they cannot be drawn.
        """


class Sample(NamedTuple):
    """Files of one image and its mask; the mask is None where masks are not public.

    Args:
        id: name of the sample.
        image: path of the image.
        mask: path of the mask, or of the file that ``drawing`` was read from.
        drawing: draws the mask where the file holds outlines.

    Example:
        >>> Sample("cat", Path("images/cat.jpg"), Path("masks/cat.png")).image.name
        'cat.jpg'
    """

    id: str
    image: Path
    mask: Path | None
    drawing: Drawing | None = None


class Finding(NamedTuple):
    """A fault or oddity of a data set: its kind in a word or two, and a message that names the file."""

    kind: str
    message: str


class Remark(Finding):
    """Finding that a user has to know before a training, although nothing is faulty."""


class PairHeaders(NamedTuple):
    """Headers of an image and its mask. The mask's is None if there is no mask, or if its file has no header."""

    image: ImageHeader
    mask: ImageHeader | None

    @property
    def turned_with_image(self) -> bool:
        """True if the mask has no EXIF orientation of its own, but its image has."""
        return self.mask is not None and self.mask.orientation == 1 and self.image.orientation != 1

    @property
    def mask_turned_alone(self) -> bool:
        """True if the mask has an EXIF orientation of its own, and its image has none."""
        return self.mask is not None and self.mask.orientation != 1 and self.image.orientation == 1

    @property
    def fits_both_ways(self) -> bool:
        """True if the sizes do not tell whether the mask is drawn on the image as stored or on the upright one."""
        width, height = self.image.size
        return width == height or not self.image.swapped


def read_headers(sample: Sample) -> PairHeaders | Finding:
    """Return the headers of a pair, or the finding that a file is missing or unreadable."""
    for role, path in (("image", sample.image), ("mask", sample.mask)):
        if path is not None and not path.is_file():
            others = [other.name for other in sorted(path.parent.glob(f"{escape(path.stem)}.*"))]
            hint = f"; {', '.join(others)} cannot be read as one" if others and role == "mask" else ""
            state = f"{kind(path)}, not a file" if os.path.lexists(path) else "missing"
            message = f"{path} is {state} (sample {sample.id!r}): add it, or unlist the sample{hint}"
            return Finding(f"missing {role}", message)
    path = sample.image
    try:
        image = image_header(path)
        if sample.mask is None or sample.drawing or sample.mask.suffix == ".mat":
            return PairHeaders(image, None)
        path = sample.mask
        return PairHeaders(image, mask_header(path))
    except Exception as error:  # a damaged file makes PIL raise all kinds of errors
        role = "mask" if path == sample.mask else "image"
        return Finding(f"unreadable {role}", f"cannot read {path}: {read_failure(error)}")


def header_problem(sample: Sample, headers: PairHeaders, labels: Labels, reading: Reading) -> Finding | None:
    """Return the first problem that the headers of a pair show, or None.

    The mask must have a mode that fits the labels, and image and mask the same size.
    """
    image, mask, path = headers.image, headers.mask, sample.image
    if image.mode in {"I", "F"}:  # their brightest value is unknown, and may differ from image to image
        return Finding("image mode", f"{path} has 32 bits per pixel (mode {image.mode}): save it with 8 or 16")
    for file, header in ((path, image), (sample.mask, mask)):
        if header and header.more_pages:
            return Finding("several pages", f"{file} has several pages or frames: save each as an image file")
    if reading.bands and max(reading.bands) >= image.bands:
        return Finding("bands", f"{path} has the bands 0 to {image.bands - 1}, and data.bands={[*reading.bands]}")
    if sample.drawing:
        return sample.drawing.frame_problem(image)
    if mask is None or sample.mask is None:
        return None
    if mask.lossy and labels.threshold is None:
        return Finding(
            "lossy mask",
            f"the mask {sample.mask} is a {mask.lossy}, which changes labels: save it as PNG, or, with data=folder and "
            "two classes, set data.threshold=128",
        )
    if mask.mode not in labels.modes:
        return Finding("mask mode", f"the mask {sample.mask} has mode {mask.mode}; {_mode_hint(mask.mode, labels)}")
    turned = image.swapped and headers.turned_with_image
    with_image = turned and reading.mask_exif == "image"
    problem = size_problem(sample.mask, mask.size[::-1] if with_image else mask.size, image.size)
    if problem and turned:
        way = "" if with_image else ": data.mask_exif=image applies it to the masks, too"
        return problem._replace(message=f"{problem.message} after its EXIF orientation is applied{way}")
    return problem


def _mode_hint(mode: str, labels: Labels) -> str:
    if labels.coloured:
        return "expected colours (PNG mode RGB or P)"
    if mode.startswith("I"):
        return "expected 8 bits: save it with fewer"
    if mode in {"LA", "PA"}:
        return (
            "expected one channel of class indices: save it without its transparency (PNG mode L), or name its colours "
            "in data.classes, such as {0/0/0: background, 255/255/255: cell}"
        )
    return (
        "expected one channel of class indices (PNG mode P or L): convert its colours to indices, "
        "or give data=folder a table of them in data.classes"
    )


def size_problem(mask: Path, mask_size: Sequence[int], size: Sequence[int]) -> Finding | None:
    """Return a problem if a mask's (width, height) differs from its image's."""
    if tuple(mask_size) == tuple(size):
        return None
    return Finding(
        "mask size",
        f"the mask {mask} is {mask_size[0]}x{mask_size[1]}, its image {size[0]}x{size[1]} (width x height)",
    )


def read_pair(
    sample: Sample, labels: Labels, reading: Reading
) -> tuple[Tensor, Tensor | None] | Finding | UnknownValues:
    """Return image uint8 (3,H,W) and mask uint8 (H,W), None if the sample has no mask; or the content's problem."""
    kind = "unreadable image"
    try:
        image = read_image(sample.image, reading)
        if sample.mask is None:
            return image, None
        kind = "unreadable mask"
        if sample.drawing:
            return image, from_numpy(sample.drawing.draw(image_header(sample.image)))
        values = labels.read_values(sample.mask)
        if reading.mask_exif == "image":
            headers = read_headers(sample)
            if isinstance(headers, PairHeaders) and headers.turned_with_image:
                values = np.ascontiguousarray(turn(values, headers.image.orientation))
        mask, unknown = labels.translate(values)
    except SegmentError as error:
        return Finding(kind, str(error))
    if unknown:
        return UnknownValues(sample.mask, unknown, values.size)
    return size_problem(sample.mask, mask.shape[::-1], image.shape[:0:-1]) or (image, mask)


def check_headers(samples: Sequence[Sample], labels: Labels, reading: Reading) -> dict[Sample, PairHeaders]:
    """Check the headers of all files before training, and return them.

    Raises:
        SegmentError: a pair has a problem; the first one is named.
    """
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(samples, pool.map(read_headers, samples), strict=True))
    checked = {}
    for sample, headers in found.items():
        if isinstance(headers, Finding):
            raise SegmentError(headers.message)
        if problem := header_problem(sample, headers, labels, reading):
            raise SegmentError(problem.message)
        checked[sample] = headers
    return checked
