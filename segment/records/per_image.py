"""The counted pixels of an evaluation: ``per_image.npz`` by image and class, ``confusion.csv`` by pair of classes."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segment.errors import SegmentError
from segment.files import whole_file


class ImageCounts(NamedTuple):
    """Counted pixels of each image and class.

    Attributes:
        ids: names of the images (N,).
        pixels: int64 (N,3,C): correct, true and predicted pixels.
        names: names of the C classes.

    Example:
        >>> counts = ImageCounts(np.array(["a", "b"]), np.array([[[1]] * 3, [[2]] * 3]), ("disc",))
        >>> counts.select(np.array(["b"])).tolist()
        [[[2], [2], [2]]]
    """

    ids: np.ndarray
    pixels: np.ndarray
    names: tuple[str, ...]

    def select(self, ids: np.ndarray) -> np.ndarray:
        """Return the pixels (n,3,C) of the images with the given ids, in the order given; each of them must exist."""
        order = np.argsort(self.ids)
        return self.pixels[order[np.searchsorted(self.ids, ids, sorter=order)]]


def write_image_counts(counts: ImageCounts, path: Path) -> None:
    """Write ``ids`` (N,), ``names`` (C,) and, as int64 (N,C), ``hits``, ``truth`` and ``predicted``."""
    hits, truth, predicted = np.moveaxis(counts.pixels, 1, 0)
    with whole_file(path, "wb") as file:
        np.savez_compressed(
            file, ids=counts.ids, names=np.array(counts.names), hits=hits, truth=truth, predicted=predicted
        )


def read_image_counts(path: Path) -> ImageCounts:
    """Read a ``per_image.npz``.

    Raises:
        SegmentError: the file cannot be read, or its arrays do not fit together.
    """
    try:
        with np.load(path) as content:
            pixels = np.stack([content[key] for key in ("hits", "truth", "predicted")], axis=1)
            ids, names = content["ids"], tuple(map(str, content["names"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise SegmentError(f"{path.name} is damaged") from None
    if ids.shape != pixels.shape[:1] or pixels.ndim != 3:
        raise SegmentError(f"{path.name} has {len(ids)} names for pixels of shape {pixels.shape}")
    return ImageCounts(ids, pixels, names)


def write_confusion(confusion: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a confusion matrix (C,C) as CSV: a row for each true class, a column for each predicted one."""
    with whole_file(path, newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["true \\ predicted", *names])
        for name, row in zip(names, confusion, strict=True):
            rows.writerow([name, *row])
