"""Per-pixel cross-entropy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
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
        SegmentError: unknown reduction, or a label smoothing that is no share.
    """

    weight: Tensor | None

    def __init__(
        self, reduction: str = "mean", class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if reduction not in {"mean", "sum"}:
            raise SegmentError(f"loss.reduction={reduction}: expected mean or sum")
        if not 0 <= label_smoothing <= 1:
            raise SegmentError(f"loss.label_smoothing={label_smoothing}: expected a share from 0 to 1")
        self.reduction, self.label_smoothing = reduction, label_smoothing
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if weight is not None and not (weight.min() >= 0 and 0 < weight.max() < float("inf")):
            raise SegmentError(f"loss.class_weights={list(class_weights or ())}: expected numbers from 0, not all 0")
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores (N,C,H,W) and labels int64 (N,H,W) with 255 for "ignore" to one number.

        Raises:
            SegmentError: the number of class weights is not C.
        """
        weight = None if self.weight is None else self.weight.to(scores.dtype)  # trainer.precision=bf16-true rounds it
        if weight is not None and len(weight) != scores.shape[1]:
            raise SegmentError(f"loss.class_weights has {len(weight)} values for {scores.shape[1]} classes")
        # Not summed by cross_entropy, whose sum is not deterministic on a GPU: trainer.deterministic=true refuses it.
        total = F.cross_entropy(
            scores, mask, weight, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing
        ).sum()
        if self.reduction == "sum":
            return total
        valid = mask != IGNORE
        if weight is None:
            return total / valid.sum().clamp(min=1)  # torch's own mean is NaN where every pixel is ignored
        weights = weight[mask.where(valid, 0)] * valid  # not weight[mask[valid]], for which a GPU is waited
        return total / weights.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def border_weights(mask: np.ndarray, strength: float = 10.0, width: float = 5.0) -> np.ndarray:
    """U-Net's weight of each pixel, less the class weight (Ronneberger et al., 2015, equation 2).

    Args:
        mask: labels (H,W); 0 is background, and each connected region of another class is an object.
        strength: weight that a pixel right between two touching objects gets (w0).
        width: how far from both objects it fades, in pixels (sigma).

    Returns:
        float32 (H,W), ``strength * exp(-(d1 + d2)^2 / (2 width^2))`` on the background, with the distances to the
        nearest two objects; 0 on objects and where there are fewer than two.
    """
    result = np.zeros(mask.shape, np.float32)
    nearest = np.full((2, *mask.shape), np.inf, np.float32)
    for label in np.setdiff1d(np.unique(mask), (0, IGNORE)):
        regions, count = ndimage.label(mask == label)
        for number in range(1, count + 1):
            distance = ndimage.distance_transform_edt(regions != number)
            nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], distance))
            nearest[0] = np.minimum(nearest[0], distance)
    between = (mask == 0) & np.isfinite(nearest[1])
    result[between] = strength * np.exp(-((nearest[0] + nearest[1])[between] ** 2) / (2 * width**2))
    return result


class BorderWeightedCrossEntropy(CrossEntropy):
    """The mean cross-entropy of pixels with a class, weighted by 1 (or class weights) plus :func:`border_weights`.

    Args:
        strength, width: see :func:`border_weights`.
        options: of :class:`CrossEntropy`, but for ``reduction``, which is "mean".
    """

    def __init__(self, strength: float = 10.0, width: float = 5.0, **options: Any) -> None:
        super().__init__("mean", **options)
        self.strength, self.width = strength, width

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """As :class:`CrossEntropy`'s; the distances are computed on the CPU."""
        maps = [border_weights(one, self.strength, self.width) for one in mask.cpu().numpy()]
        losses = F.cross_entropy(
            scores, mask, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing
        )
        valid = mask != IGNORE
        own = torch.ones_like(losses) if self.weight is None else self.weight[mask.where(valid, 0)]
        weights = (own + torch.from_numpy(np.stack(maps)).to(losses)) * valid
        return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
