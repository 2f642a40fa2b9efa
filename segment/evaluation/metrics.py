"""The metrics of semantic segmentation, all computed from one confusion matrix over a whole split."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.utilities import dim_zero_cat

from segment.data.classes import IGNORE
from segment.records.metrics_json import none_if_nan


def confusion_metrics(confusion: Tensor) -> dict[str, Any]:
    """Compute the four metrics of Long et al. (2015), section 5, and the metrics of each class.

    Args:
        confusion: (C,C), counted pixels by true class (rows) and predicted class (columns).

    Returns:
        ``mIoU``, ``pixel_accuracy``, ``mean_accuracy`` and ``frequency_weighted_IoU`` as floats in 0..1, NaN if no
        pixel was counted. ``per_class_IoU``, ``per_class_precision``, ``per_class_recall`` and ``per_class_Dice`` (F1)
        are lists of C floats. IoU and Dice are None for a class without a pixel in truth and prediction, precision for
        one that is not predicted, recall for one without true pixels. Classes whose IoU is None are left out of mIoU,
        those whose recall is None of mean accuracy.

    Example:
        >>> metrics = confusion_metrics(torch.tensor([[3, 1], [0, 4]]))
        >>> metrics["per_class_IoU"], metrics["pixel_accuracy"]
        ([0.75, 0.8], 0.875)
    """
    confusion = confusion.cpu().double()  # one transfer; and Apple's GPUs have no float64
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    union = truth + predicted - hits
    per_class = {"IoU": hits / union, "precision": hits / predicted, "recall": hits / truth}  # NaN without pixels
    per_class["Dice"] = 2 * hits / (truth + predicted)
    total = truth.sum()
    return {
        "mIoU": float(per_class["IoU"].nanmean()),
        "pixel_accuracy": float(hits.sum() / total),
        "mean_accuracy": float(per_class["recall"].nanmean()),
        "frequency_weighted_IoU": float((truth * per_class["IoU"]).nansum() / total),
        **{f"per_class_{name}": [none_if_nan(v) for v in values.tolist()] for name, values in per_class.items()},
    }


class SegmentationScores(MulticlassJaccardIndex):
    """torchmetrics' JaccardIndex with a faster update, further metrics, and counts for each image.

    The state is torchmetrics' own confusion matrix, summed over processes, so that every metric is the same on one and
    on many processes. ``update`` counts in one pass instead of filtering a copy, and leaves out torchmetrics' check of
    the values: masks are checked when they are read, and argmax gives valid classes. See benchmarks/metric.py.

    Args:
        num_classes: C.

    Example:
        >>> scores = SegmentationScores(2)
        >>> scores.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 255]]]))
        >>> scores.compute()["pixel_accuracy"]
        1.0
    """

    counts: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro", ignore_index=IGNORE, validate_args=False)
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, both integers (N,H,W); 255 in ``target`` is ignored."""
        confusion = count_pairs(preds, target, self.num_classes)
        self.confmat += confusion.sum(0)
        self.counts.append(torch.stack([confusion.diagonal(dim1=1, dim2=2), confusion.sum(2), confusion.sum(1)], 1))

    def compute(self) -> dict[str, Any]:  # type: ignore[override]  # torchmetrics returns a tensor
        """Compute the metrics; see :func:`confusion_metrics`."""
        return confusion_metrics(self.confmat)

    def per_image(self) -> Tensor:
        """Return int64 (N,3,C): correct, true and predicted pixels of each image and class.

        Inside ``with metric.sync_context():`` the images are those of all processes, one process after the other.
        """
        return dim_zero_cat(self.counts)


def count_pairs(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the confusion matrices (N,C,C) of N images.

    Args:
        prediction: integers (N,H,W) from 0 to ``classes - 1``.
        truth: integers (N,H,W) from 0 to 255; pixels with a label above ``classes - 1`` are left out.
        classes: C.
    """
    # Each pair of labels has a number. Pairs with an ignored pixel have the highest numbers and are cut off. Most of
    # the time goes to access to memory. So numbers have 16 bits where that is enough, and one buffer that fits a core's
    # cache serves all images.
    length = classes * (classes + 1)
    dtype = torch.int16 if length <= torch.iinfo(torch.int16).max else torch.int32
    numbers, rest = torch.empty(2, *truth.shape[1:], dtype=dtype, device=truth.device)
    counts = torch.empty(len(truth), classes * classes, dtype=torch.int64, device=truth.device)
    for count, guess, label in zip(counts, prediction, truth, strict=True):
        torch.add(rest.copy_(guess), numbers.copy_(label).clamp_(max=classes), alpha=classes, out=numbers)
        count.copy_(torch.bincount(numbers.flatten(), minlength=length)[: classes * classes])
    return counts.view(-1, classes, classes)
