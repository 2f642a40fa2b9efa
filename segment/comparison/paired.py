"""Intervals over the images that all runs of the compared nets have in common."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from segment.evaluation.intervals import Interval, miou_interval
from segment.records.per_image import ImageCounts


def common_images(runs: Sequence[ImageCounts]) -> np.ndarray:
    """Return the ids of the images that all runs have, each with the same truth."""
    ids = reduce(np.intersect1d, [run.ids for run in runs])
    truths = [run.select(ids)[:, 1] for run in runs]
    return ids[np.all([np.all(truth == truths[0], axis=1) for truth in truths], axis=0)]


def paired_interval(first: Sequence[ImageCounts], second: Sequence[ImageCounts] = ()) -> Interval:
    """Return the interval of a net's mIoU, or of the difference between two nets, over the images in common.

    The images' groups are those of the first run that has any.

    Args:
        first, second: the runs of each net with different seeds; mIoU is averaged over them.
    """
    ids = common_images([*first, *second])
    groups = next((run.select_groups(ids) for run in (*first, *second) if run.groups is not None), None)
    return miou_interval([run.select(ids) for run in first], [run.select(ids) for run in second], groups)
