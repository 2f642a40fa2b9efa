"""Figures from the counted pixels of images and classes, and how much they owe to the choice of the images.

A resample weighs each image at random, and its mIoU is that of the weighted counts summed, as it is of the split.
"""

import numpy as np

CHUNK = 100
"""Resamples that are drawn at a time: their weights take 8 bytes for each image."""


def iou(counts: np.ndarray) -> np.ndarray:
    """IoU (...,C) from pixels hit, true and predicted (...,3,C); NaN for a class without any."""
    hits, truth, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    union = truth + predicted - hits
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """mIoU (...) from pixels hit, true and predicted (...,3,C); NaN where nothing was counted."""
    values = iou(counts)
    number = (~np.isnan(values)).sum(-1)
    return np.divide(np.nansum(values, -1), number, out=np.full(number.shape, np.nan), where=number > 0)


def resample(counts: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """mIoU of each resample of the images, by the Bayesian bootstrap (Rubin, 1981).

    Images drawn with replacement would lack a rare class at times, whose IoU then were missing from the mean; with
    weights that are never zero all means are over the same classes. One seed and number of images give one choice of
    weights, whatever the counts.

    Args:
        counts: (N,3,C), see :meth:`segment.evaluation.metrics.SegmentationScores.per_image`.
        resamples: how many times the N images are weighted.
    """
    images, rng = len(counts), np.random.default_rng(seed)
    flat = counts.reshape(images, -1).astype(np.float64)
    found = [np.empty(0)]
    for begin in range(0, resamples, CHUNK):
        number = min(CHUNK, resamples - begin)
        weights = rng.exponential(size=(number, images))  # but for their sum, on which no IoU depends
        found.append(mean_iou((weights @ flat).reshape(number, *counts.shape[1:])))
    return np.concatenate(found)


def bounds(figures: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds this share of the resamples' figures (Efron and Tibshirani, 1993, chapter 13).

    Returns:
        Lower and upper end, NaN where nothing was counted.
    """
    known = figures[~np.isnan(figures)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(counts: np.ndarray, resamples: int, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """The interval of mIoU over images; see :func:`resample` and :func:`bounds`."""
    return bounds(resample(counts, resamples, seed), level)
