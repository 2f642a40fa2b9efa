"""Losses: per-pixel cross-entropy."""

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
    """Cross-entropy over the pixels that are not ignored (Long et al., 2015, section 4).

    Args:
        reduction: "mean" over the counted pixels, 0 if there are none; or "sum" as in the FCN papers, whose learning
            rates are smaller by the number of pixels.
        class_weights: one weight for each class, or None for equal weights.
        label_smoothing: share of the target that is spread evenly over all classes.

    Raises:
        SegmentError: unknown reduction, or a class weight or label smoothing out of range.

    Example:
        >>> loss = CrossEntropy()
        >>> round(loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])).item(), 4)
        0.6931
    """

    weight: Tensor | None

    def __init__(
        self, reduction: str = "mean", class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if reduction not in {"mean", "sum"}:
            raise SegmentError(f"loss.reduction={reduction}: expected mean or sum")
        if not 0 <= label_smoothing <= 1:
            raise SegmentError(f"loss.label_smoothing={label_smoothing:g}: expected a share from 0 to 1")
        self.reduction, self.label_smoothing = reduction, label_smoothing
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if weight is not None and not (len(weight) and weight.min() >= 0 and 0 < weight.max() < float("inf")):
            raise SegmentError(f"loss.class_weights={list(class_weights or ())}: expected numbers from 0, not all 0")
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of scores (N,C,H,W) and labels int64 (N,H,W), where 255 is ignored.

        Raises:
            SegmentError: the number of class weights is not C.
        """
        self._check_classes(scores)
        weight = None if self.weight is None else self.weight.to(scores.dtype)  # bf16-true rounds it
        # cross_entropy's own sum is not deterministic on a GPU, and trainer.deterministic=true refuses it.
        total = F.cross_entropy(
            scores, mask, weight, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing
        ).sum()
        if self.reduction == "sum":
            return total
        valid = mask != IGNORE
        if weight is None:
            return total / valid.sum().clamp(min=1)  # torch's mean is NaN if every pixel is ignored
        weights = weight[mask.where(valid, 0)] * valid  # weight[mask[valid]] would wait for the GPU
        return total / weights.sum().clamp(min=torch.finfo(weight.dtype).tiny)

    def _check_classes(self, scores: Tensor) -> None:
        if self.weight is not None and len(self.weight) != scores.shape[1]:
            raise SegmentError(f"loss.class_weights has {len(self.weight)} values for {scores.shape[1]} classes")


def border_weights(mask: np.ndarray, strength: float = 10.0, width: float = 5.0) -> np.ndarray:
    """Return U-Net's border weight of each pixel (Ronneberger et al., 2015, equation 2, without class weights).

    Args:
        mask: labels (H,W); 0 is background, and each connected region of another class is an object.
        strength: weight of a pixel between two touching objects (w0).
        width: distance at which the weight fades, in pixels (sigma).

    Returns:
        float32 (H,W), ``strength * exp(-(d1 + d2)^2 / (2 width^2))`` on the background, where d1 and d2 are the
        distances to the nearest two objects; 0 on objects and with fewer than two objects.
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
    """Mean cross-entropy in which each pixel has the weight 1 (or its class weight) plus :func:`border_weights`.

    Args:
        strength, width: see :func:`border_weights`.
        options: options of :class:`CrossEntropy` except ``reduction``, which is "mean".

    Example:
        >>> BorderWeightedCrossEntropy(width=3.0).reduction
        'mean'
    """

    def __init__(self, strength: float = 10.0, width: float = 5.0, **options: Any) -> None:
        super().__init__("mean", **options)
        if strength < 0 or width <= 0:
            raise SegmentError(
                f"loss.strength={strength} loss.width={width}: expected a strength from 0 and a width above 0"
            )
        self.strength, self.width = strength, width

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss as :class:`CrossEntropy` does; the distances are computed on the CPU."""
        self._check_classes(scores)
        maps = [border_weights(one, self.strength, self.width) for one in mask.cpu().numpy()]
        losses = F.cross_entropy(
            scores, mask, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing
        )
        valid = mask != IGNORE
        own = torch.ones_like(losses) if self.weight is None else self.weight[mask.where(valid, 0)]
        weights = (own + torch.from_numpy(np.stack(maps)).to(losses)) * valid
        return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
