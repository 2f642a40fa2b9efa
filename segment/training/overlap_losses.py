"""Losses that compare the overlap of the regions of each class, image by image."""

import math

import torch
from torch import Tensor, nn

from segment.data.classes import IGNORE
from segment.errors import SegmentError
from segment.training.losses import in_32_bits


class TverskyLoss(nn.Module):
    """One less the Tversky index of each class of an image (Salehi et al., 2017, equation 4, with softmax).

    An image's loss is the mean over the classes that occur in its labels; ignored pixels count for nothing. The loss is
    the mean over all images, those without a label too, whose loss is 0. It is computed in 32 bits or more.

    Args:
        alpha: weight of pixels that are wrongly given to a class, from 0.
        beta: weight of the pixels of a class that are missed, from 0.

    Raises:
        SegmentError: a weight is out of range.

    Example:
        >>> loss = TverskyLoss(alpha=0.5, beta=0.5)
        >>> round(loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])).item(), 4)
        0.3333
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7) -> None:
        super().__init__()
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf and alpha + beta > 0):
            raise SegmentError(f"loss.alpha={alpha:g} loss.beta={beta:g}: expected numbers from 0, not both 0")
        self.alpha, self.beta = alpha, beta

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of scores (N,C,H,W) and labels int64 (N,H,W), where 255 is ignored."""
        p, labels = in_32_bits(scores).softmax(1), mask.to(torch.uint8)[:, None]  # bytes are compared faster
        truth = labels == torch.arange(scores.shape[1], dtype=torch.uint8, device=mask.device).view(-1, 1, 1)
        hits, pixels = p.where(truth, 0).sum((2, 3)), truth.sum((2, 3))
        given = p.where(labels != IGNORE, 0).sum((2, 3))
        total = hits + self.alpha * (given - hits) + self.beta * (pixels - hits)
        losses = (1 - hits / total.clamp(min=torch.finfo(p.dtype).tiny)) * (pixels > 0)
        return (losses.sum(1) / (pixels > 0).sum(1).clamp(min=1)).mean()


class DiceLoss(TverskyLoss):
    """One less the Dice coefficient ``2 sum(p g) / (sum(p) + sum(g))`` of each class (Drozdzal et al., 2016).

    Images and classes count as in :class:`TverskyLoss`.

    Example:
        >>> round(DiceLoss()(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])).item(), 4)
        0.3333
    """

    def __init__(self) -> None:
        super().__init__(0.5, 0.5)


class LovaszLoss(nn.Module):
    """Lovász-Softmax, the convex extension of one less the IoU of each class (Berman et al., 2018, equation 13).

    Images and classes count as in :class:`TverskyLoss`.

    Example:
        >>> LovaszLoss()(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])).item()
        0.5
    """

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of scores (N,C,H,W) and labels int64 (N,H,W), where 255 is ignored."""
        return torch.stack([*map(_lovasz, in_32_bits(scores).softmax(1), mask)]).mean()


def _lovasz(p: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of an image's probabilities (C,H,W) and labels (H,W)."""
    valid = mask != IGNORE
    classes = mask[valid].bincount().nonzero()[:, 0]
    if not len(classes):
        return p[:0].sum()  # of no pixel: 0 with a gradient of 0
    truth = mask.flatten() == classes[:, None]
    # Ignored pixels have the error 0: they are sorted to the end, where they count for nothing.
    errors = (truth.to(p.dtype) - p.flatten(1)[classes]).abs().where(valid.flatten(), 0)
    return (errors * _lovasz_weights(errors.detach(), truth)).sum(1).mean()


def _lovasz_weights(errors: Tensor, truth: Tensor) -> Tensor:
    """Return by how much the IoU of each class falls at each pixel, if pixels become wrong from the largest error on.

    Args:
        errors: (C,P), from 0.
        truth: bool (C,P), whether a pixel is of the class.
    """
    # The bits of positive numbers are in their order. On a CPU, torch sorts a row of integers in a tenth of the time.
    keys = torch.iinfo(torch.int32).max - errors.float().view(torch.int32)
    order = torch.stack([row.argsort() for row in keys]) if keys.is_cpu else keys.argsort()
    # Counts are integers: a GPU adds them up in no fixed order.
    pixels, found = truth.sum(1, keepdim=True), truth.gather(1, order).cumsum(1)
    iou = (pixels - found) / (pixels - found + torch.arange(1, len(found[0]) + 1, device=found.device))
    falls = -iou.diff(dim=1, prepend=torch.ones_like(iou[:, :1]))
    return torch.empty_like(errors).scatter_(1, order, falls.to(errors.dtype))
