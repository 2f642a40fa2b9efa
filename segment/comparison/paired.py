"""Is A better than B, or did the images fall well for it? Both on the same resamples of the same images."""

import zipfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segment.errors import SegmentError
from segment.evaluation.intervals import bounds, mean_iou, resample


class Counts(NamedTuple):
    """Pixels hit, true and predicted of each image and class (N,3,C), and the images' names (N,)."""

    ids: np.ndarray
    pixels: np.ndarray

    @classmethod
    def read(cls, path: Path) -> tuple["Counts", tuple[str, ...]]:
        """Those of a run's per_image.npz, and the names of its classes.

        Raises:
            SegmentError: the file cannot be read, or its parts do not fit.
        """
        try:
            with np.load(path) as content:
                pixels = np.stack([content[key] for key in ("hits", "truth", "predicted")], axis=1)
                ids, names = content["ids"], tuple(map(str, content["names"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise SegmentError(f"{path.name} is damaged") from None
        if ids.shape != pixels.shape[:1] or pixels.ndim != 3:
            raise SegmentError(f"{path.name} has {len(ids)} names for pixels of shape {pixels.shape}")
        return cls(ids, pixels), names

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The pixels of these images alone, in this order; each has to be there."""
        order = np.argsort(self.ids)
        return self.pixels[order[np.searchsorted(self.ids, ids, sorter=order)]]


class Interval(NamedTuple):
    """A figure in 0..1 or a difference of two, the bounds of its 95 % interval, and the images that it rests on."""

    value: float
    low: float
    high: float
    images: int


def common_ids(runs: Sequence[Counts]) -> np.ndarray:
    """The images that all runs have, with equal truth: where a mask has changed, it is another image."""
    ids = reduce(np.intersect1d, [run.ids for run in runs])
    truths = [run.of(ids)[:, 1] for run in runs]
    return ids[np.all([np.all(truth == truths[0], axis=1) for truth in truths], axis=0)]


def difference(first: Sequence[Counts], second: Sequence[Counts] = (), resamples: int = 2000) -> Interval | None:
    """The interval of one net's mIoU less another's, on the images that all runs of both have.

    Args:
        first, second: the training seeds of each net, over which mIoU is averaged; without a second one it is the
            interval of the first one's mIoU.

    Returns:
        None where fewer than two images are common: one alone says nothing of others.
    """
    ids = common_ids([*first, *second])
    if len(ids) < 2:
        return None

    def over_seeds(runs: Sequence[Counts]) -> np.ndarray:
        """mIoU of all images, and then of each resample; 0 of no run."""
        pixels = [run.of(ids) for run in runs]
        found = [np.append(mean_iou(part.sum(0)), resample(part, resamples)) for part in pixels]
        return np.mean(found, axis=0) if found else np.zeros(1 + resamples)

    figures = over_seeds(first) - over_seeds(second)
    return Interval(float(figures[0]), *bounds(figures[1:]), len(ids))
