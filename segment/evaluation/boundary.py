"""Metrics of boundaries: IoU in bands along the true boundaries (trimaps), and boundary IoU."""

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics import Metric

from segment.data.classes import IGNORE
from segment.evaluation.intervals import iou, mean_iou
from segment.records.metrics_json import none_if_nan

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Widths of the trimaps' bands, in pixels on each side of a boundary."""
DILATION_RATIO = 0.02
"""Width of boundary IoU's regions as a share of the image's diagonal (Cheng et al., 2021)."""
MANY_AREAS = 60
"""Number of void areas from which they are filled together."""
VOID_RULE = (
    "boundary IoU: filled from the nearest counted pixel in truth and prediction before boundaries are taken, so that "
    "void gives no boundary to either, and not counted; trimap: another label, as in DeepLab, and not counted"
)
"""Treatment of void, which ``metrics.json`` states."""


class BoundaryScores(Metric):
    """Trimap IoU and boundary IoU over a whole split.

    All counts are integers, so that the metrics are the same on one and on many processes.

    Trimap IoU (Kohli et al., 2009) is the mIoU over the pixels within a given distance of a true boundary. The distance
    is that to the nearest pixel with another true label. Void is another label, as in DeepLab (Chen et al., 2018): in
    VOC it is the boundary.

    Boundary IoU (Cheng et al., 2021) of a class is the IoU of two regions: the pixels of its true mask and those of its
    predicted mask that are within d pixels of the mask's boundary. The image's border is part of it, and d is
    0.02 of the image's diagonal. Intersections and unions are summed over the split before they are divided.

    Distances are chessboard distances, as in Cheng et al.

    Where a mask meets void, its boundary is unknown. Void is therefore filled from the nearest counted pixel, in truth
    and prediction alike, before boundaries are taken. Only counted pixels are added up. Otherwise the truth's void
    border would cut a boundary into any prediction that covers it, and a prediction that is far too large would get
    credit for it. A prediction that differs from the truth in void only scores 1.

    Args:
        num_classes: C.

    Example:
        >>> scores = BoundaryScores(2)
        >>> scores.update(torch.eye(4)[None].long(), torch.eye(4)[None].long())
        >>> scores.compute()["boundary_IoU"]
        1.0
    """

    trimaps: Tensor
    regions: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("trimaps", torch.zeros(3, len(WIDTHS), num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("regions", torch.zeros(3, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted classes and labels, both integers (N,H,W); 255 in ``target`` is ignored."""
        for prediction, truth in zip(preds.byte().cpu().numpy(), target.byte().cpu().numpy(), strict=True):
            counted = truth != IGNORE
            if not counted.any():
                continue  # no nearest counted pixel either
            band = bands_around_boundaries(truth)
            near = counted & (band < len(WIDTHS))
            ring = self.num_classes * band
            rings = count_in_regions(ring + prediction, ring + truth, near, near, len(WIDTHS) * self.num_classes)
            trimaps = rings.reshape(self.trimaps.shape).cumsum(1)  # a band holds all narrower ones
            self.trimaps += torch.from_numpy(trimaps).to(self.trimaps.device)

            width = max(1, round(DILATION_RATIO * float(np.hypot(*truth.shape))))
            border = border_region(truth.shape, width)
            true_region, predicted_region = (
                counted & (border | dilate(label_edges(filled), width - 1))
                for filled in fill_void(counted, truth, prediction)
            )
            regions = count_in_regions(prediction, truth, predicted_region, true_region, self.num_classes)
            self.regions += torch.from_numpy(regions).to(self.regions.device)

    def compute(self) -> dict[str, Any]:
        """Compute the metrics in 0..1; None without a counted pixel.

        Returns:
            ``trimap``: ``mIoU`` and ``pixel_accuracy`` by width in pixels; ``boundary_IoU``, the mean over the
            classes that occur; ``per_class_boundary_IoU``, a list; and ``void``, how void is treated.
        """
        trimaps, regions = self.trimaps.cpu().numpy().swapaxes(0, 1), self.regions.cpu().numpy()
        bands = {
            str(width): {
                "mIoU": none_if_nan(float(mean_iou(band))),
                "pixel_accuracy": float(band[0].sum() / band[1].sum()) if band[1].any() else None,
            }
            for width, band in zip(WIDTHS, trimaps, strict=True)
        }
        return {
            "trimap": bands,
            "boundary_IoU": none_if_nan(float(mean_iou(regions))),
            "per_class_boundary_IoU": [none_if_nan(value) for value in iou(regions).tolist()],
            "void": VOID_RULE,
        }


def fill_void(counted: np.ndarray, *labels: np.ndarray) -> list[np.ndarray]:
    """Return labels (H,W) with each void pixel replaced by the nearest counted one, by Euclidean distance.

    The counted pixels that are nearest to a void area touch it. So each area is filled within its own small window,
    unless there are many.

    Args:
        counted: bool (H,W), true for at least one pixel.
        labels: any number of arrays (H,W).
    """
    areas, number = ndimage.label(~counted, np.ones((3, 3)))
    if number > MANY_AREAS:
        areas = (~counted).astype(int)
    filled = [values.copy() for values in labels]
    for area, box in enumerate(ndimage.find_objects(areas), 1):
        window = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        void = areas[window] == area
        nearest = ndimage.distance_transform_edt(~counted[window], return_distances=False, return_indices=True)
        for values, result in zip(labels, filled, strict=True):
            result[window][void] = values[window][tuple(nearest[:, void])]
    return filled


def label_edges(labels: np.ndarray) -> np.ndarray:
    """Return where (H,W) one of a pixel's eight neighbours has another label."""
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
    return edge


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return where (H,W) a pixel of a mask is within a chessboard distance.

    Windows of 1, 2, 4, 8... pixels are joined, first along the columns and then along the rows. This is many times as
    fast as scipy's distance transform.
    """
    side = 2 * radius + 1
    for _ in mask.shape:
        window, length = np.zeros((len(mask) + 2 * radius, mask.shape[1]), bool), 1
        window[radius : radius + len(mask)] = mask
        while length < side:
            step = min(length, side - length)
            window, length = window[:-step] | window[step:], length + step
        mask = window.T
    return mask


def bands_around_boundaries(labels: np.ndarray) -> np.ndarray:
    """Return the number (H,W) of :data:`WIDTHS` that are smaller than a pixel's distance to another label."""
    near, reached, bands = label_edges(labels), 1, np.zeros(labels.shape, np.int16)
    for width in WIDTHS:
        near, reached = dilate(near, width - reached), width
        bands += ~near
    return bands


def border_region(shape: tuple[int, ...], width: int) -> np.ndarray:
    """Return the pixels (H,W) of an image whose chessboard distance to the nearest one outside is at most a width."""
    region = np.ones(shape, bool)
    region[width:-width, width:-width] = False
    return region


def count_in_regions(
    prediction: np.ndarray, truth: np.ndarray, predicted_region: np.ndarray, true_region: np.ndarray, classes: int
) -> np.ndarray:
    """Count the correct, true and predicted pixels (3,C) of each class within two regions.

    Args:
        prediction, truth: class indices (H,W).
        predicted_region, true_region: bool (H,W), where the prediction and the truth are counted.
        classes: C.
    """
    hit = predicted_region & true_region & (prediction == truth)
    chosen = (truth[hit], truth[true_region], prediction[predicted_region])
    return np.stack([np.bincount(labels, minlength=classes) for labels in chosen])
