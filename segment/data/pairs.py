"""Pairs of image and mask on disk: checking and reading."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from segment.data.images import open_image, read_image
from segment.data.labels import Labels
from segment.data.unknown_values import UnknownValues
from segment.errors import SegmentError


class Sample(NamedTuple):
    """Files of one image and its mask; the mask is None where masks are not public.

    >>> Sample("cat", Path("images/cat.jpg"), Path("masks/cat.png")).image.name
    'cat.jpg'
    """

    id: str
    image: Path
    mask: Path | None


class Finding(NamedTuple):
    """A fault or oddity of a data set: its kind in a word or two, and a message that names the file."""

    kind: str
    message: str


def header_problem(sample: Sample, labels: Labels) -> Finding | None:
    """Return the first problem that the headers of a pair show, or None.

    Both files must exist and be readable, have the same size, and the mask must have a mode that fits the labels.
    """
    for kind, path in (("image", sample.image), ("mask", sample.mask)):
        if path is not None and not path.is_file():
            return Finding(f"missing {kind}", f"{path} is missing (sample {sample.id!r}): add it, or unlist the sample")
    path = sample.image
    try:
        with open_image(path) as image:
            turned = image.getexif().get(0x0112) in {5, 6, 7, 8}  # orientations that swap width and height
            size = image.size[::-1] if turned else image.size
            if image.mode in {"I", "F"}:  # their brightest value is unknown, and may differ from image to image
                return Finding("image mode", f"{path} has 32 bits per pixel (mode {image.mode}): save it with 8 or 16")
            if image.format == "TIFF" and (pages := getattr(image, "n_frames", 1)) > 1:
                return Finding("several pages", f"{path} has {pages} pages: save each as an image file")
        if sample.mask is None or sample.mask.suffix == ".mat":
            return None
        path = sample.mask
        with open_image(path) as mask:
            mask_size, mode, file_format = mask.size, mask.mode, mask.format
    except Exception as error:  # a damaged file makes PIL raise all kinds of errors
        kind = "mask" if path == sample.mask else "image"
        return Finding(f"unreadable {kind}", f"cannot read {path}: {error or type(error).__name__}")
    if file_format == "JPEG":
        return Finding("lossy mask", f"the mask {path} is a JPEG, which changes labels: masks have to be PNGs")
    if mode not in labels.modes:
        return Finding("mask mode", f"the mask {path} has mode {mode}; {_mode_hint(mode, labels)}")
    problem = size_problem(path, mask_size, size)
    if problem and turned:
        return problem._replace(message=f"{problem.message} after its EXIF orientation is applied")
    return problem


def _mode_hint(mode: str, labels: Labels) -> str:
    if labels.coloured:
        return "expected colours (PNG mode RGB or P)"
    if mode.startswith("I"):
        return "expected 8 bits: save it with fewer"
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


def read_pair(sample: Sample, labels: Labels) -> tuple[Tensor, Tensor | None] | Finding | UnknownValues:
    """Return image uint8 (3,H,W) and mask uint8 (H,W), None if the sample has no mask; or the content's problem."""
    kind = "unreadable image"
    try:
        image = read_image(sample.image)
        if sample.mask is None:
            return image, None
        kind = "unreadable mask"
        values = labels.read_values(sample.mask)
        mask, unknown = labels.translate(values)
    except SegmentError as error:
        return Finding(kind, str(error))
    if unknown:
        return UnknownValues(sample.mask, unknown, values.size)
    return size_problem(sample.mask, mask.shape[::-1], image.shape[:0:-1]) or (image, mask)


def check_headers(samples: Sequence[Sample], labels: Labels) -> None:
    """Check the headers of all files before training.

    Raises:
        SegmentError: a pair has a problem; the first one is named.
    """
    with ThreadPoolExecutor(8) as pool:
        for problem in pool.map(header_problem, samples, repeat(labels)):
            if problem:
                raise SegmentError(problem.message)
