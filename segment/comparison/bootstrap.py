"""Is A better than B, or did the images fall well for it? A paired bootstrap over the images of a split.

Resampled are the images, with replacement; mIoU is that of the counts summed over the resample, as it is of the split
(Efron & Tibshirani, 1993, chapter 13: percentile intervals). Nets are compared on the same resamples.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

CELLS = 4_000_000
"""Weights of images in resamples that are held at a time: 32 MB."""


class Counts(NamedTuple):
    """Pixels of each image (N) and class (C): right ones, those of the truth, those predicted; int64 (N,C) each."""

    ids: np.ndarray
    hits: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    def of(self, ids: np.ndarray) -> "Counts":
        """Only these images, in this order; each has to be there."""
        order = np.argsort(self.ids)
        rows = order[np.searchsorted(self.ids, ids, sorter=order)]
        return Counts(*(field[rows] for field in self))

    def mean_iou(self) -> float:
        """Of the counts summed over the images, as a run's metrics.json has it."""
        return float(mean_iou(self.hits.sum(0), self.truth.sum(0), self.predicted.sum(0)))


def mean_iou(hits: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts (...,C) to mIoU (...) in 0..1: classes that occur in neither are left out; NaN where all are."""
    union = truth + predicted - hits
    seen = union > 0
    with np.errstate(invalid="ignore"):
        return np.where(seen, hits / np.where(seen, union, 1), 0).sum(-1) / seen.sum(-1)


def weights(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is in each resample, (resamples,images) in all, some resamples at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // images)
    for start in range(0, resamples, step):
        yield rng.multinomial(images, np.full(images, 1 / images), min(step, resamples - start)).astype(float)


def resample(seeds: Sequence[Counts], resamples: int, seed: int) -> np.ndarray:
    """mIoU (resamples,) of a net, the mean over its training seeds; equal images give equal resamples."""
    runs = [np.concatenate(counts[1:], axis=1).astype(float) for counts in seeds]
    means = []
    for weight in weights(len(seeds[0].ids), resamples, seed):
        sums = [np.split(weight @ run, 3, axis=1) for run in runs]
        means.append(np.mean([mean_iou(*parts) for parts in sums], axis=0))
    return np.concatenate(means)


class Interval(NamedTuple):
    """A figure, the bounds of its 95 % interval, and the number of images that it rests on."""

    value: float
    low: float
    high: float
    images: int


def interval(value: float, samples: np.ndarray, images: int) -> Interval:
    low, high = np.nanpercentile(samples, [2.5, 97.5]) if np.isfinite(samples).any() else (np.nan, np.nan)
    return Interval(value, float(low), float(high), images)


def common_ids(runs: Sequence[Counts]) -> np.ndarray:
    """The images that all runs have, with equal truth: a mask that was changed since makes another image."""
    ids = reduce(np.intersect1d, [run.ids for run in runs])
    truths = [run.of(ids).truth for run in runs]
    equal = np.all([np.all(truth == truths[0], axis=1) for truth in truths], axis=0)
    return ids[equal]


def of_net(seeds: Sequence[Counts], resamples: int = 2000, seed: int = 0) -> Interval | None:
    """The interval of a net's mIoU, mean over its training seeds, on the images that all of them have."""
    return difference(seeds, None, resamples, seed)


def difference(
    first: Sequence[Counts], second: Sequence[Counts] | None, resamples: int = 2000, seed: int = 0
) -> Interval | None:
    """The interval of the first net's mIoU less the second's, on the images that all runs of both have.

    Args:
        first, second: one or more training seeds of each net; ``second`` may be None, for 0.

    Returns:
        In 0..1; None where there is no common image.
    """
    ids = common_ids([*first, *(second or [])])
    if not len(ids):
        return None
    value, samples = 0.0, np.zeros(resamples)
    for sign, seeds in ((1, first), (-1, second or [])):
        if seeds:
            chosen = [counts.of(ids) for counts in seeds]
            value += sign * float(np.mean([counts.mean_iou() for counts in chosen]))
            samples = samples + sign * resample(chosen, resamples, seed)
    return interval(value, samples, len(ids))
