"""The counted pixels of an evaluation: ``per_image.npz`` by image and class, ``confusion.csv`` by pair of classes."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segment.errors import SegmentError
from segment.files import whole_file

MAX_UNPACKED = 2**30
"""Size of the arrays in the largest file that is read."""
MAX_PIXELS = 2**40
"""Number of pixels that no image has."""


class ImageCounts(NamedTuple):
    """Counted pixels of each image and class.

    Attributes:
        ids: names of the images (N,).
        pixels: int64 (N,3,C): correct, true and predicted pixels.
        names: names of the C classes.
        groups: group of each image (N,), where images are not independent.

    Example:
        >>> counts = ImageCounts(np.array(["b", "a"]), np.zeros((2, 3, 1), int), ("road",))
        >>> counts.select(np.array(["a"])).shape
        (1, 3, 1)
    """

    ids: np.ndarray
    pixels: np.ndarray
    names: tuple[str, ...]
    groups: np.ndarray | None = None

    def select(self, ids: np.ndarray) -> np.ndarray:
        """Return the pixels (n,3,C) of some images, in the order given; each of them must exist."""
        return self.pixels[self._positions(ids)]

    def select_groups(self, ids: np.ndarray) -> np.ndarray | None:
        """Return the groups (n,) of some images; None where images are independent."""
        return None if self.groups is None else self.groups[self._positions(ids)]

    def _positions(self, ids: np.ndarray) -> np.ndarray:
        order = np.argsort(self.ids)
        return order[np.searchsorted(self.ids, ids, sorter=order)]


def join_counts(parts: Sequence[ImageCounts]) -> ImageCounts:
    """Join the counts of different images, such as those of the folds of a cross-validation."""
    groups = [part.groups for part in parts if part.groups is not None]
    return ImageCounts(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        parts[0].names,
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def write_image_counts(counts: ImageCounts, path: Path) -> None:
    """Write ``ids`` (N,), ``names`` (C,), ``groups`` (N,) if there are any, and the pixels.

    These are ``hits``, ``truth`` and ``predicted``, int64 (N,C).
    """
    hits, truth, predicted = np.moveaxis(counts.pixels, 1, 0)
    arrays = {"ids": counts.ids, "names": np.array(counts.names), "hits": hits, "truth": truth, "predicted": predicted}
    if counts.groups is not None:
        arrays["groups"] = counts.groups
    with whole_file(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_image_counts(path: Path) -> ImageCounts:
    """Read a ``per_image.npz``.

    Raises:
        SegmentError: the file cannot be read, or its arrays do not fit together.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED:
                raise SegmentError(f"{path.name} holds more than {MAX_UNPACKED / 2**30:g} GiB")
        with np.load(path) as content:
            pixels = np.stack([content[key] for key in ("hits", "truth", "predicted")], axis=1)
            ids, names = content["ids"], content["names"]
            groups = content.get("groups")
    except SegmentError:
        raise
    except Exception:  # an untrusted archive may raise anything
        raise SegmentError(f"{path.name} is damaged") from None
    if ids.shape != pixels.shape[:1] or pixels.ndim != 3 or names.shape != pixels.shape[2:]:
        raise SegmentError(f"{path.name} has {ids.size} names of images and {names.size} of classes for {pixels.shape}")
    if [array.dtype.kind for array in (ids, pixels, names)] != ["U", "i", "U"] or not _are_counts(pixels):
        raise SegmentError(f"{path.name} is damaged: expected names, and numbers of correct, true and predicted pixels")
    if groups is not None and (groups.shape != ids.shape or groups.dtype.kind != "U"):
        raise SegmentError(f"{path.name} is damaged: expected the group of each image")
    return ImageCounts(ids, pixels, tuple(names.tolist()), groups)


def _are_counts(pixels: np.ndarray) -> bool:
    return bool(np.all((pixels[:, 0] >= 0) & (pixels[:, :1] <= pixels[:, 1:]).all(1) & (pixels < MAX_PIXELS).all(1)))


def write_confusion(confusion: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a confusion matrix (C,C) as CSV: a row for each true class, a column for each predicted one."""
    with whole_file(path, newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["true \\ predicted", *names])
        for name, row in zip(names, confusion, strict=True):
            rows.writerow([name, *row])
