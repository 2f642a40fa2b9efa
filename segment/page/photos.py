"""A visitor's photo: checked before it is decoded, then segmented."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segment.data.headers import image_header
from segment.data.images import read_failure
from segment.errors import SegmentError
from segment.files import printable
from segment.prediction.inference import highest
from segment.prediction.segmenter import Segmentation, Segmenter, to_rgb_tensor

LARGEST_PHOTO = 25_000_000
"""Largest number of pixels of a photo; larger ones are for ``segment.predict``."""
LARGEST_FILE = 50 * 2**20
"""Largest file of a photo, in bytes."""


@dataclass(frozen=True, eq=False)
class SegmentedPhoto:
    """The classes of a visitor's photo, and how sure the net is of each.

    Attributes:
        name: name of the photo's file, without suffix.
        found: the class of every pixel.
        confidence: for each class, the mean probability that the net gives to it where it chose it; NaN where it did
            not, or where there was no memory for probabilities.

    Example:
        >>> from segment.data.classes import Classes
        >>> classes = Classes(("sky", "sea"), ((0, 0, 255), (0, 0, 99)))
        >>> found = Segmentation(np.zeros((1, 4, 3), np.uint8), np.array([[0, 1, 1, 1]], np.uint8), classes)
        >>> SegmentedPhoto("beach", found, np.array([0.9, 0.8])).labels
        [1, 0]
    """

    name: str
    found: Segmentation
    confidence: np.ndarray

    @property
    def labels(self) -> list[int]:
        """Indices of the classes that occur, the largest one first."""
        counts = [*self.found.counts().values()]
        return sorted((label for label, count in enumerate(counts) if count), key=lambda label: -counts[label])

    def share(self, label: int) -> float:
        """Return the share of the photo's pixels that belong to a class."""
        return float((self.found.mask == label).mean())


def check_photo(path: Path, name: str) -> None:
    """Check the header of a photo before it is decoded.

    Args:
        path: the file.
        name: its name, as the visitor knows it.

    Raises:
        SegmentError: the file is no image, or is too large.
    """
    shown = f"the file {printable(name)}"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SegmentError(f"{shown} is larger than {LARGEST_FILE >> 20} MB: make it smaller first.")
        width, height = image_header(path).size
        pixels = width * height
    except SegmentError:
        raise
    except Image.DecompressionBombError as error:  # PIL has a limit of its own, and its message begins with the size
        pixels = int(re.findall(r"\d+", str(error))[0])
    except Exception as error:  # a damaged file may raise anything
        raise SegmentError(
            f"{shown} cannot be read, {read_failure(error)}: choose a JPEG, PNG or WebP photo."
        ) from None
    if pixels > LARGEST_PHOTO:
        million = 1_000_000
        raise SegmentError(
            f"{shown} has {pixels / million:,.0f} million pixels, and this page takes up to "
            f"{LARGEST_PHOTO // million} million: make it smaller first."
        )


def segment_photo(segmenter: Segmenter, path: Path, name: str) -> SegmentedPhoto:
    """Return the classes of a photo.

    Args:
        segmenter: the net.
        path: the file, which :func:`check_photo` has checked.
        name: its name, as the visitor knows it.

    Raises:
        SegmentError: the photo cannot be read, or does not fit the net or its memory.
    """
    try:
        pixels = to_rgb_tensor(path, segmenter.reading)
        try:
            classes, highest_ones = segmenter.inference.run(segmenter.net, pixels, highest)
        except SegmentError:  # no memory for probabilities
            classes, highest_ones = segmenter.inference.run(segmenter.net, pixels)
    except (SegmentError, OSError, RuntimeError, ValueError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].replace(str(path), printable(name))
        raise SegmentError(reason) from None
    found = segmenter.segmentation(pixels, classes)
    probability = np.full(found.mask.shape, np.nan) if highest_ones is None else highest_ones[0].cpu().numpy()
    return SegmentedPhoto(Path(name).stem, found, mean_by_class(found.mask, probability, len(segmenter.classes)))


def mean_by_class(mask: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of values (H,W) over the pixels of each class, (count,); NaN for a class without pixels."""
    sums = np.bincount(mask.ravel(), values.ravel(), count)
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(mask.ravel(), minlength=count)
