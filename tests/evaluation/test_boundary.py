"""Metrics of boundaries follow the definitions in the papers, written with scipy's morphology."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segment.evaluation.boundary import WIDTHS, BoundaryScores, distance_to_border, distance_to_other
from tests.evaluation.counting import metrics_by_hand


def blobs(seed: int) -> np.ndarray:
    """Return labels (60,80) of three classes with smooth outlines."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 5)
    return np.digitize(noise, np.quantile(noise, [0.4, 0.75]))


def test_boundary_iou_follows_its_definition():
    """Check against Cheng et al. (2021), equation 1: a mask without its d-fold erosion; the image's border counts."""
    prediction, truth = blobs(1), np.roll(blobs(1), 2, 1)
    d = round(0.02 * (60**2 + 80**2) ** 0.5)
    expected = []
    for label in range(3):
        rims = []
        for mask in (truth == label, prediction == label):
            padded = np.pad(mask, 1)
            rims.append(padded & ~ndimage.binary_erosion(padded, np.ones((3, 3)), d))
        expected.append((rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum())
    metric = BoundaryScores(4)
    metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    found = metric.compute()
    assert found["per_class_boundary_IoU"] == [*(pytest.approx(value, rel=1e-12) for value in expected), None]
    assert found["boundary_IoU"] == pytest.approx(np.mean(expected))


def test_trimaps_are_the_pixels_near_another_label():
    truth, prediction = blobs(2), blobs(3)
    truth[20:30, 10:40] = 255
    metric = BoundaryScores(3)
    for _ in range(2):
        metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    found = metric.compute()["trimap"]
    for width in WIDTHS:
        side = 2 * width + 1
        highest, lowest = (
            filtered(truth, side, mode="nearest") for filtered in (ndimage.maximum_filter, ndimage.minimum_filter)
        )
        band = highest != lowest
        expected = metrics_by_hand(prediction[band], truth[band], 3)
        assert found[str(width)] == pytest.approx({k: expected[k] for k in ("mIoU", "pixel_accuracy")}, rel=1e-12)


def test_errors_in_ignored_pixels_do_not_count():
    truth = blobs(4)
    edge = ndimage.maximum_filter(truth, 5) != ndimage.minimum_filter(truth, 5)
    prediction = truth.copy()
    truth[edge] = 255
    prediction[edge] = np.random.default_rng(0).integers(0, 3, edge.sum())
    metric = BoundaryScores(3)
    metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    assert metric.compute()["per_class_boundary_IoU"] == [1, 1, 1]


def test_ignored_pixels_alone_give_no_metric():
    metric = BoundaryScores(3)
    metric.update(torch.from_numpy(blobs(4))[None], torch.full((1, 60, 80), 255))
    assert metric.compute()["boundary_IoU"] is None
    assert metric.compute()["trimap"]["32"] == {"mIoU": None, "pixel_accuracy": None}


def test_distances_in_a_small_image():
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 1], [1, 1, 1, 1]])
    assert distance_to_other(labels).tolist() == [[3, 2, 1, 1], [3, 2, 1, 1], [3, 2, 2, 2]]
    assert distance_to_other(np.ones((3, 4))).min() > 4 + WIDTHS[-1]  # an image of one label
    assert distance_to_border(3, 4).tolist() == [[1, 1, 1, 1], [1, 2, 2, 1], [1, 1, 1, 1]]
