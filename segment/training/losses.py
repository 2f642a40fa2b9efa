"""Losses that are a mean over pixels: cross-entropy and its relatives."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from segment.data.classes import IGNORE
from segment.errors import SegmentError


def in_32_bits(scores: Tensor) -> Tensor:
    """Return scores in 32 bits or more: sums over many pixels and logarithms need them."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


class CrossEntropy(nn.Module):
    """Cross-entropy over the pixels that are not ignored (Long et al., 2015, section 4).

    It is computed in 32 bits or more.

    Args:
        reduction: "mean" over the counted pixels, 0 if there are none; or "sum" as in the FCN papers, whose learning
            rates are smaller by the number of pixels.
        class_weights: one weight for each class, or None for equal weights. ``segment.train`` replaces "auto", see
            :mod:`segment.training.class_weights`.
        label_smoothing: share of the target that is spread evenly over all classes.
        normalize: "process" for the mean over the pixels of this process; "global" to divide by the mean number of
            pixels of all processes, so that averaged gradients are those of the mean over all pixels.

    Raises:
        SegmentError: unknown reduction or normalisation, or a class weight or label smoothing out of range.

    Example:
        >>> loss = CrossEntropy()
        >>> round(loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])).item(), 4)
        0.6931
    """

    weight: Tensor | None

    def __init__(
        self,
        reduction: str = "mean",
        class_weights: Sequence[float] | Literal["auto"] | None = None,
        label_smoothing: float = 0.0,
        normalize: str = "process",
    ) -> None:
        super().__init__()
        if reduction not in {"mean", "sum"}:
            raise SegmentError(f"loss.reduction={reduction}: expected mean or sum")
        if normalize not in {"process", "global"} or (normalize == "global" and reduction == "sum"):
            raise SegmentError(f"loss.normalize={normalize}: expected process, or global with loss.reduction=mean")
        if not 0 <= label_smoothing <= 1:
            raise SegmentError(f"loss.label_smoothing={label_smoothing:g}: expected a share from 0 to 1")
        if class_weights == "auto":
            raise SegmentError("loss.class_weights=auto: only segment.train counts pixels; expected a list of numbers")
        self.reduction, self.label_smoothing, self.normalize = reduction, label_smoothing, normalize
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if weight is not None and not (len(weight) and weight.min() >= 0 and 0 < weight.max() < float("inf")):
            raise SegmentError(f"loss.class_weights={list(class_weights or ())}: expected numbers from 0, not all 0")
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of scores (N,C,H,W) and labels int64 (N,H,W), where 255 is ignored.

        Raises:
            SegmentError: the number of class weights is not C.
        """
        if self.weight is not None and len(self.weight) != scores.shape[1]:
            raise SegmentError(f"loss.class_weights has {len(self.weight)} values for {scores.shape[1]} classes")
        losses, weights = self.pixel_losses(in_32_bits(scores), mask)
        # cross_entropy's own sum is not deterministic on a GPU, and trainer.deterministic=true refuses it.
        total, count = losses.sum(), weights.sum()
        if self.reduction == "sum":
            return total
        if self.normalize == "global" and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(count)
            count /= distributed.get_world_size()
        # Without a counted pixel, torch's mean is NaN. A tiny divisor gives NaN, too: 16-mixed scales gradients up.
        return total / count.where(count > 0, 1)

    def pixel_losses(self, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted loss of each pixel and its weight (N,H,W), both 0 where the pixel is ignored."""
        return self._cross_entropy(scores, mask, self.weight), self._weights(scores, mask)

    def _cross_entropy(self, scores: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = None if weight is None else weight.to(scores.dtype)  # bf16-true rounds it
        return F.cross_entropy(
            scores, mask, weight, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing
        )

    def _weights(self, scores: Tensor, mask: Tensor) -> Tensor:
        valid = mask != IGNORE
        if self.weight is None:
            return valid.to(scores.dtype)
        return self.weight.to(scores.dtype)[mask.where(valid, 0)] * valid  # weight[mask[valid]] would wait for the GPU


class FocalLoss(CrossEntropy):
    """Cross-entropy in which each pixel also has the factor ``(1 - p)^gamma`` (Lin et al., 2017, equation 5).

    p is the softmax probability of the pixel's class, and the class weights are the paper's alpha. The sum over the
    pixels is divided by that of their class weights, as :class:`CrossEntropy` does.

    Args:
        gamma: exponent from 0; 0 gives cross-entropy.
        class_weights, normalize: see :class:`CrossEntropy`.

    Example:
        >>> round(FocalLoss(gamma=2.0)(torch.zeros(1, 2, 1, 1), torch.tensor([[[0]]])).item(), 4)
        0.1733
    """

    def __init__(
        self,
        gamma: float = 2.0,
        class_weights: Sequence[float] | Literal["auto"] | None = None,
        normalize: str = "process",
    ) -> None:
        super().__init__("mean", class_weights, 0.0, normalize)
        if not 0 <= gamma < float("inf"):
            raise SegmentError(f"loss.gamma={gamma:g}: expected a number from 0")
        self.gamma = gamma

    def pixel_losses(self, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`CrossEntropy.pixel_losses`."""
        losses, weights = self._cross_entropy(scores, mask), self._weights(scores, mask)
        missing = -torch.expm1(-losses)  # 1 - p
        # Not 0, where the gradient of a power below 1 is infinite.
        return weights * missing.clamp(min=torch.finfo(missing.dtype).tiny) ** self.gamma * losses, weights


class OhemCrossEntropy(CrossEntropy):
    """Cross-entropy of the hard pixels: those whose class has a probability below a threshold (Wu et al., 2016).

    Where they are too few, the pixels with the lowest probabilities of the batch are used.

    Args:
        threshold: probability from 0 to 1 below which a pixel is hard.
        min_share: least share of the batch's labelled pixels that is used, from 0 to 1.
        class_weights, normalize: see :class:`CrossEntropy`. They do not change which pixels are hard.

    Example:
        >>> scores = torch.tensor([[0.0, 9.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # the second pixel is easy
        >>> round(OhemCrossEntropy()(scores, torch.zeros(1, 1, 2, dtype=torch.int64)).item(), 4)
        0.6931
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_share: float = 0.0625,
        class_weights: Sequence[float] | Literal["auto"] | None = None,
        normalize: str = "process",
    ) -> None:
        super().__init__("mean", class_weights, 0.0, normalize)
        if not (0 <= threshold <= 1 and 0 <= min_share <= 1 and threshold + min_share > 0):
            raise SegmentError(
                f"loss.threshold={threshold:g} loss.min_share={min_share:g}: expected numbers from 0 to 1, not both 0"
            )
        self.threshold, self.min_share = threshold, min_share

    def pixel_losses(self, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`CrossEntropy.pixel_losses`; pixels that are not used count as ignored."""
        losses, valid = self._cross_entropy(scores, mask), mask != IGNORE
        p = torch.exp(-losses.detach()).masked_fill(~valid, 2)
        least = (valid.sum() * self.min_share).ceil().long()
        limit = p.flatten().sort().values.take((least - 1).clamp(min=0))
        weights = self._weights(scores, mask) * ((p < self.threshold) | ((p <= limit) & (least > 0)))
        return losses * weights, weights


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

    def pixel_losses(self, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`CrossEntropy.pixel_losses`; the distances are computed on the CPU."""
        maps = [border_weights(one, self.strength, self.width) for one in mask.cpu().numpy()]
        border = torch.from_numpy(np.stack(maps)).to(scores) * (mask != IGNORE)
        weights = self._weights(scores, mask) + border
        return self._cross_entropy(scores, mask) * weights, weights
