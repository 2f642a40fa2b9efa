"""How well outlines are met: IoU in bands along the true boundaries (trimaps), and boundary IoU."""

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics import Metric

from segment.data.classes import IGNORE
from segment.evaluation.intervals import iou, mean_iou
from segment.evaluation.metrics import or_none

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Of the trimaps, in pixels to each side of a boundary."""
DILATION_RATIO = 0.02
"""Width of boundary IoU's regions to the image's diagonal, as Cheng et al. (2021) chose it."""


class BoundaryScores(Metric):
    """Trimap and boundary IoU over a whole split; all counts are integers, the same on one and on many processes.

    Trimap IoU (Kohli et al., 2009) is mIoU over the pixels that are at most so many pixels away from another label
    of the truth. Void is another label, too: in VOC it is the boundary, and DeepLab (Chen et al., 2018) takes it so.

    Boundary IoU (Cheng et al., 2021) of a class is the IoU of two regions: the pixels of its true and those of its
    predicted mask that are within d pixels of the mask's outline, to which the image's border belongs; d is 0.02 of
    the image's diagonal. Intersections and unions are summed over the split before they are divided.

    Distances are Cheng et al.'s: steps in eight directions. An ignored pixel belongs to no class, in the
    prediction neither, so what differs from the truth in ignored pixels alone scores 1.
    """

    trimaps: Tensor
    regions: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("trimaps", torch.zeros(3, len(WIDTHS), num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("regions", torch.zeros(3, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, integers (N,H,W) both; 255 in ``target`` is ignored."""
        for prediction, truth in zip(preds.byte().cpu().numpy(), target.byte().cpu().numpy(), strict=True):
            counted = truth != IGNORE
            distances = distance_to_other(truth)
            near = counted & (distances <= WIDTHS[-1])
            ring = self.num_classes * np.searchsorted(WIDTHS, distances)
            rings = count(ring + prediction, ring + truth, near, near, len(WIDTHS) * self.num_classes)
            trimaps = rings.reshape(self.trimaps.shape).cumsum(1)  # a band holds all narrower ones
            self.trimaps += torch.from_numpy(trimaps).to(self.trimaps.device)

            width = max(1, round(DILATION_RATIO * float(np.hypot(*truth.shape))))
            outside = distance_to_border(*truth.shape)
            true_region = counted & (np.minimum(distances, outside) <= width)
            distances = distance_to_other(np.where(counted, prediction, IGNORE))
            predicted_region = counted & (np.minimum(distances, outside) <= width)
            regions = count(prediction, truth, predicted_region, true_region, self.num_classes)
            self.regions += torch.from_numpy(regions).to(self.regions.device)

    def compute(self) -> dict[str, Any]:
        """The figures in 0..1, None where no pixel or no class is to be had.

        Returns:
            ``trimap``: by width in pixels ``mIoU`` and ``pixel_accuracy``; ``boundary_IoU``, the mean over the
            classes that occur, and ``per_class_boundary_IoU``, a list.
        """
        trimaps, regions = self.trimaps.cpu().numpy().swapaxes(0, 1), self.regions.cpu().numpy()
        bands = {
            str(width): {
                "mIoU": or_none(float(mean_iou(band))),
                "pixel_accuracy": float(band[0].sum() / band[1].sum()) if band[1].any() else None,
            }
            for width, band in zip(WIDTHS, trimaps, strict=True)
        }
        return {
            "trimap": bands,
            "boundary_IoU": or_none(float(mean_iou(regions))),
            "per_class_boundary_IoU": [or_none(value) for value in iou(regions).tolist()],
        }


def distance_to_other(labels: np.ndarray) -> np.ndarray:
    """Steps in eight directions from each pixel (H,W) to the nearest of another label; more than any where is none."""
    edge = np.zeros(labels.shape, bool)
    for one, other in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        differs = labels[one] != labels[other]
        edge[one] |= differs
        edge[other] |= differs
    if not edge.any():
        return np.full(labels.shape, max(labels.shape) + WIDTHS[-1] + 1)
    return ndimage.distance_transform_cdt(~edge, "chessboard") + 1


def distance_to_border(height: int, width: int) -> np.ndarray:
    """Steps from each pixel (H,W) to the nearest that is no longer in the image."""
    rows, columns = np.arange(height), np.arange(width)
    return np.minimum.outer(np.minimum(rows, rows[::-1]), np.minimum(columns, columns[::-1])) + 1


def count(
    prediction: np.ndarray, truth: np.ndarray, of_prediction: np.ndarray, of_truth: np.ndarray, classes: int
) -> np.ndarray:
    """(3,C): the pixels hit, true and predicted by class, within a region (H,W) of the prediction and of the truth."""
    hit = of_prediction & of_truth & (prediction == truth)
    chosen = (truth[hit], truth[of_truth], prediction[of_prediction])
    return np.stack([np.bincount(labels, minlength=classes) for labels in chosen])
