"""IoU from counted pixels, and the interval of mIoU over the choice of the images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
FEW_IMAGES = 5
"""A class that occurs in fewer images makes the interval uncertain, and is reported."""
FEW_GROUPS = 10
"""Fewer groups of images make the interval uncertain, which is noted."""


class Interval(NamedTuple):
    """A mean IoU in 0..1, or a difference of two, with its 95 % interval over the choice of the images.

    Attributes:
        value: the mean IoU or the difference.
        low, high: ends of the interval; NaN for fewer than two images.
        images: number of images with a counted pixel.
        groups: number n of groups of these images; the number of images where each is a group of its own.
        rare_classes: number of classes that occur in fewer than five of the images.
        note: a reason why there is no interval, why it is a single point, or why it is uncertain; empty otherwise.

    Example:
        >>> counts = np.array([[[3], [4], [4]], [[4], [4], [4]], [[2], [4], [4]]])  # correct, true, predicted pixels
        >>> interval = miou_interval([counts])
        >>> round(interval.value, 2), round(interval.low, 2), round(interval.high, 2)
        (0.6, 0.0, 1.0)
    """

    value: float
    low: float
    high: float
    images: int
    groups: int
    rare_classes: int
    note: str = ""

    def describe(self) -> str:
        """Return what the interval covers, in one sentence."""
        few = "1 class occurs" if self.rare_classes == 1 else f"{self.rare_classes} classes occur"
        where = "in fewer than five of the images, in truth or prediction, which may make the interval too short"
        rare = f"; {few} {where}" if self.rare_classes else ""
        return (
            f"the interval is over the choice of {self.images} images{f' in {self.groups} groups' * self.is_grouped}, "
            f"not of training seeds, and covers the population's mean IoU over the classes that occur in them{rare}"
        )

    @property
    def exists(self) -> bool:
        """False for fewer than two images, or for fewer than two groups of images."""
        return not np.isnan(self.low)

    @property
    def is_grouped(self) -> bool:
        """True if a group has several images."""
        return self.groups < self.images


def iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU (...,C) from correct, true and predicted pixels (...,3,C); NaN for a class without any.

    Example:
        >>> iou(np.array([[3], [4], [5]]))
        array([0.5])
    """
    hits, truth, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    union = truth + predicted - hits
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Return mIoU (...) from correct, true and predicted pixels (...,3,C); NaN where nothing was counted."""
    values = iou(counts)
    number = (~np.isnan(values)).sum(-1)
    return np.divide(np.nansum(values, -1), number, out=np.full(number.shape, np.nan), where=number > 0)


def miou_interval(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray] = (), groups: np.ndarray | None = None
) -> Interval:
    """Estimate the interval of mIoU, or of the difference of two mIoUs, by the delete-one jackknife.

    The interval is the value ± Student's t with n - 1 degrees of freedom times the jackknife's standard error
    (Efron and Tibshirani, 1993, chapter 11), cut off at the ends of the possible range. Each leave-one-out mIoU is the
    mean over the classes that occur in the remaining images. The interval covers the population's mIoU over the classes
    that occur in the images. It describes the choice of images, not that of training seeds.

    Args:
        first: correct, true and predicted pixels (N,3,C) of each run of a net; mIoU is averaged over the runs.
        second: the runs of a net whose mIoU is subtracted, on the same N images.
        groups: of the images (N,), such as the video of each frame. One group is left out at a time. None where images
            are independent.
    """
    counted = np.any([run[:, 1].any(-1) for run in (*first, *second)], axis=0)
    first, second = [run[counted] for run in first], [run[counted] for run in second]
    images = int(counted.sum())
    occurs = np.any([run[:, 1:].any(1) for run in (*first, *second)], axis=0).sum(0)
    rare = int(np.count_nonzero((occurs > 0) & (occurs < FEW_IMAGES)))
    if groups is not None:
        first, second = ([_add_up(run, groups[counted]) for run in runs] for runs in (first, second))
    number, unit = len(first[0]), "images" if groups is None else "groups"
    value = float(_average(first, leave_one_out=False) - _average(second, leave_one_out=False))
    if number < 2:
        note = f"no interval: it needs two {unit} with a counted pixel, got {number}"
        return Interval(value, np.nan, np.nan, images, number, rare, note)
    without = _average(first, leave_one_out=True) - _average(second, leave_one_out=True)
    if np.ptp(without) == 0:
        note = f"the interval is a point: leaving out any of the {unit} gives the same value"
        return Interval(value, value, value, images, number, rare, note)
    margin = _margin(without)
    low, high = np.clip([value - margin, value + margin], -1 if second else 0, 1)
    few = groups is not None and number < FEW_GROUPS
    note = f"the interval is uncertain: {number} groups are fewer than {FEW_GROUPS}" if few else ""
    return Interval(value, float(low), float(high), images, number, rare, note)


def _margin(without: np.ndarray) -> float:
    """Return half the length of the interval from the values (n,) without each unit in turn."""
    from scipy.stats import t  # half a second, which --help need not wait for

    n = len(without)
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    return float(t.ppf((1 + LEVEL) / 2, n - 1) * error)


def _add_up(run: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the pixels (groups,3,C) of groups of images from those of the images (N,3,C)."""
    names, group = np.unique(groups, return_inverse=True)
    total = np.zeros((len(names), *run.shape[1:]), run.dtype)
    np.add.at(total, group, run)
    return total


def _average(runs: Sequence[np.ndarray], leave_one_out: bool) -> np.ndarray:
    """Return the mIoU of all images, or without each image in turn (N,), averaged over runs; 0 if there is no run."""
    totals = [run.sum(0, keepdims=True) - run if leave_one_out else run.sum(0) for run in runs]
    return np.mean([mean_iou(total) for total in totals], axis=0) if runs else np.zeros(())
