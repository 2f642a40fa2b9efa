"""The figures of semantic segmentation, all from one confusion matrix over a whole split."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

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
    iou, accuracy = hits / union, hits / truth  # NaN where there is nothing to divide by
    total = truth.sum()
    return {
        "mIoU": float(iou.nanmean()),
        "pixel_accuracy": float(hits.sum() / total),
        "mean_accuracy": float(accuracy.nanmean()),
        "frequency_weighted_IoU": float((truth * iou).nansum() / total),
        "per_class_IoU": [None if value != value else value for value in iou.tolist()],
    }


class SegmentationScores(MulticlassJaccardIndex):
    """torchmetrics' JaccardIndex, with an update of one pass and with the other figures beside mIoU.

    The state is torchmetrics' own confusion matrix, summed over processes, so every figure is the same
    on one and on many. Only ``update`` differs: a single count in place of a filtered copy (see benchmarks/).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro", ignore_index=IGNORE, validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, integers of one shape; 255 in ``target`` is ignored."""
        classes = self.num_classes
        # One row more than there are classes takes the ignored pixels.
        rows = target.clamp(max=classes)
        counts = torch.bincount((rows * classes + preds).flatten(), minlength=(classes + 1) * classes)
        self.confmat += counts[: classes * classes].view(classes, classes)

    def compute(self) -> dict[str, Any]:  # type: ignore[override]  # torchmetrics returns a tensor
        """See :func:`scores`."""
        return scores(self.confmat)
