"""Per-pixel cross-entropy."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.data.classes import IGNORE
from segment.errors import SegmentError


class CrossEntropy(nn.Module):
    """Cross-entropy of every pixel that has a class (Long et al., 2015, section 4).

    Args:
        reduction: "mean" over the pixels that count, 0 where none does; or "sum", the FCN papers' own,
            whose learning rates are smaller by the number of pixels.
        class_weights: one weight per class, or None for 1 each.
        label_smoothing: share of the target that is spread evenly over all classes.

    Raises:
        SegmentError: unknown reduction.
    """

    weight: Tensor | None

    def __init__(
        self, reduction: str = "mean", class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if reduction not in {"mean", "sum"}:
            raise SegmentError(f"loss.reduction={reduction}: expected mean or sum")
        self.reduction, self.label_smoothing = reduction, label_smoothing
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores (N,C,H,W) and labels int64 (N,H,W) with 255 for "ignore" to one number.

        Raises:
            SegmentError: the number of class weights is not C.
        """
        weight = self.weight
        if weight is not None and len(weight) != scores.shape[1]:
            raise SegmentError(f"loss.class_weights has {len(weight)} values for {scores.shape[1]} classes")
        total = F.cross_entropy(
            scores, mask, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=self.label_smoothing
        )
        if self.reduction == "sum":
            return total
        valid = mask != IGNORE
        if weight is None:
            return total / valid.sum().clamp(min=1)  # torch's own mean is NaN where every pixel is ignored
        return total / weight[mask[valid]].sum().clamp(min=torch.finfo(weight.dtype).tiny)
