"""The figures of semantic segmentation, all from one confusion matrix over a whole split."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.utilities import dim_zero_cat

from segment.data.classes import IGNORE


def scores(confusion: Tensor) -> dict[str, Any]:
    """The four figures of Long et al. (2015), section 5, and IoU per class.

    Args:
        confusion: (C,C), counted pixels by true class (rows) and predicted class (columns).

    Returns:
        ``mIoU``, ``pixel_accuracy``, ``mean_accuracy`` and ``frequency_weighted_IoU`` as floats in 0..1 (NaN if no
        pixel was counted), and ``per_class_IoU``, a list of C floats, None where a class has no pixel in
        truth or prediction. Such classes are left out of mIoU, classes without true pixels out of mean accuracy.
    """
    confusion = confusion.cpu().double()  # one transfer; and Apple's GPUs have no float64
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    union = truth + predicted - hits
    per_class, accuracy = hits / union, hits / truth  # NaN where there is nothing to divide by
    total = truth.sum()
    return {
        "mIoU": float(per_class.nanmean()),
        "pixel_accuracy": float(hits.sum() / total),
        "mean_accuracy": float(accuracy.nanmean()),
        "frequency_weighted_IoU": float((truth * per_class).nansum() / total),
        "per_class_IoU": [or_none(value) for value in per_class.tolist()],
    }


class SegmentationScores(MulticlassJaccardIndex):
    """torchmetrics' JaccardIndex, with an update of one pass, the other figures beside mIoU, and counts by image.

    The state is torchmetrics' own confusion matrix, summed over processes, so every figure is the same
    on one and on many. Only ``update`` differs: a single count in place of a filtered copy, see benchmarks/metric.py.
    """

    counts: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro", ignore_index=IGNORE, validate_args=False)
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, integers (N,H,W) both; 255 in ``target`` is ignored."""
        classes = self.num_classes
        for prediction, truth in zip(preds, target, strict=True):
            confusion = count_pairs(prediction, truth, classes)
            self.confmat += confusion
            self.counts.append(torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)])[None])

    def compute(self) -> dict[str, Any]:  # type: ignore[override]  # torchmetrics returns a tensor
        """See :func:`scores`."""
        return scores(self.confmat)

    def per_image(self) -> Tensor:
        """(N,3,C): of each image that was counted here and each class the pixels hit, true and predicted.

        Inside ``with metric.sync_context():`` of all processes, one after the other.
        """
        return dim_zero_cat(self.counts)


def count_pairs(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """The confusion matrix (C,C) of an image; labels that are no class are left out.

    On a CPU by NumPy, whose single thread waits for no other: where processes share the cores, a step of many
    threads takes as long as its slowest one.
    """
    # A number for each pair of labels. Those with an ignored pixel come last, and are cut off.
    length = classes * (IGNORE + 1)
    if truth.device.type == "cpu":
        numbers = np.multiply(truth.numpy(), classes, dtype=np.int64)
        numbers += prediction.numpy()
        counts = torch.from_numpy(np.bincount(numbers.ravel(), minlength=length))
    else:
        counts = torch.bincount(torch.add(prediction, truth.long(), alpha=classes).flatten(), minlength=length)
    return counts[: classes * classes].view(classes, classes)


def or_none(value: float) -> float | None:
    """A figure for a file or a list, where NaN is None."""
    return None if math.isnan(value) else value
