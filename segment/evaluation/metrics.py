"""The figures of semantic segmentation, all from one confusion matrix over a whole split."""

import math
from typing import Any

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

    The state is torchmetrics' own confusion matrix, summed over processes, so every figure is the same on one and on
    many. ``update`` counts once in place of filtering a copy, and leaves out torchmetrics' check of the values, since
    masks were checked when they were read and argmax gives no other classes; see benchmarks/metric.py.
    """

    counts: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro", ignore_index=IGNORE, validate_args=False)
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, integers (N,H,W) both; 255 in ``target`` is ignored."""
        confusion = count_pairs(preds, target, self.num_classes)
        self.confmat += confusion.sum(0)
        self.counts.append(torch.stack([confusion.diagonal(dim1=1, dim2=2), confusion.sum(2), confusion.sum(1)], 1))

    def compute(self) -> dict[str, Any]:  # type: ignore[override]  # torchmetrics returns a tensor
        """See :func:`scores`."""
        return scores(self.confmat)

    def per_image(self) -> Tensor:
        """(N,3,C): of each image that was counted here and each class the pixels hit, true and predicted.

        Inside ``with metric.sync_context():`` of all processes, one after the other.
        """
        return dim_zero_cat(self.counts)


def count_pairs(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """The confusion matrices (N,C,C) of N images.

    Args:
        prediction: integers (N,H,W), each from 0 to ``classes - 1``.
        truth: integers (N,H,W) from 0 to 255; pixels whose label is no class are left out.
    """
    # A number for each pair of labels; those with an ignored pixel come last, and are cut off. Memory is what takes the
    # time here: 16 bits a number where that is enough, all images' numbers in one place, and a core's cache holds it.
    length = classes * (classes + 1)
    dtype = torch.int16 if length <= torch.iinfo(torch.int16).max else torch.int32
    numbers, rest = torch.empty(2, *truth.shape[1:], dtype=dtype, device=truth.device)
    counts = torch.empty(len(truth), classes * classes, dtype=torch.int64, device=truth.device)
    for count, guess, label in zip(counts, prediction, truth, strict=True):
        torch.add(rest.copy_(guess), numbers.copy_(label).clamp_(max=classes), alpha=classes, out=numbers)
        count.copy_(torch.bincount(numbers.flatten(), minlength=length)[: classes * classes])
    return counts.view(-1, classes, classes)


def or_none(value: float) -> float | None:
    """A figure for a file or a list, where NaN is None."""
    return None if math.isnan(value) else value
