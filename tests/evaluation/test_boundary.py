"""Metrics of boundaries follow the definitions in the papers, written with scipy's morphology."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segment.evaluation.boundary import (
    WIDTHS,
    BoundaryScores,
    bands_around_boundaries,
    border_region,
    dilate,
    fill_void,
)
from tests.evaluation.counting import metrics_by_hand


def blobs(seed: int) -> np.ndarray:
    """Return labels (60,80) of three classes with smooth boundaries."""
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


def ring_case(growth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and truth (300,400): an object of 100x100 in a void ring of 5 pixels, predicted too large."""
    truth, prediction = np.zeros((2, 300, 400), int)
    truth[95:205, 145:255] = 255
    truth[100:200, 150:250] = 1
    prediction[100 - growth : 200 + growth, 150 - growth : 250 + growth] = 1
    return prediction, truth


def boundary_iou_by_search(prediction: np.ndarray, truth: np.ndarray, classes: int) -> list[float | None]:
    """Return the boundary IoU of each class: void filled by a search over all counted pixels, boundaries by erosion."""
    counted = np.argwhere(truth != 255)
    filled = [truth.copy(), prediction.copy()]
    for y, x in np.argwhere(truth == 255):
        squared = ((counted - (y, x)) ** 2).sum(1)
        tied = {tuple(place) for place in counted[squared == squared.min()]}
        # of those at the same distance, scipy's choice
        chosen = ndimage.distance_transform_edt(truth == 255, return_distances=False, return_indices=True)[:, y, x]
        assert tuple(chosen) in tied
        for labels in filled:
            labels[y, x] = labels[tuple(chosen)]
    d, found = max(1, round(0.02 * np.hypot(*truth.shape))), []
    for label in range(classes):
        rims = []
        for labels in filled:
            padded = np.pad(labels == label, 1)
            rims.append((padded & ~ndimage.binary_erosion(padded, np.ones((3, 3)), d))[1:-1, 1:-1] & (truth != 255))
        union = (rims[0] | rims[1]).sum()
        found.append((rims[0] & rims[1]).sum() / union if union else None)
    return found


def measure(*pairs: tuple[np.ndarray, np.ndarray], classes: int = 3) -> dict:
    metric = BoundaryScores(classes)
    for prediction, truth in pairs:
        metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    return metric.compute()


def test_void_earns_no_boundary():
    """Cut out of the prediction, the ring would give it a boundary of its own, and 0.25 for being 30 px too large."""
    assert measure(ring_case(30), classes=2)["per_class_boundary_IoU"][1] == 0
    assert measure(ring_case(0), classes=2)["per_class_boundary_IoU"] == [1, 1]


def test_void_is_filled_from_the_nearest_counted_pixel():
    truth, prediction = blobs(2)[:25, :30].copy(), blobs(3)[:25, :30]
    truth[np.random.default_rng(0).random(truth.shape) < 0.3] = 255
    truth[5:12, 8:20] = 255
    expected = boundary_iou_by_search(prediction, truth, 3)
    assert 0 < min(expected) < 1
    assert measure((prediction, truth))["per_class_boundary_IoU"] == pytest.approx(expected, rel=1e-12)


def test_an_image_of_void_alone_adds_nothing():
    pair, void = (blobs(3), blobs(2)), np.full((60, 80), 255)
    assert measure(pair, (blobs(1), void)) == measure(pair)


def test_ignored_pixels_alone_give_no_metric():
    metric = BoundaryScores(3)
    metric.update(torch.from_numpy(blobs(4))[None], torch.full((1, 60, 80), 255))
    assert metric.compute()["boundary_IoU"] is None
    assert metric.compute()["trimap"]["32"] == {"mIoU": None, "pixel_accuracy": None}


def test_bands_and_border_of_a_small_image():
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 1], [1, 1, 1, 1]])
    assert bands_around_boundaries(labels).tolist() == [[2, 1, 0, 0], [2, 1, 0, 0], [2, 1, 1, 1]]
    assert (bands_around_boundaries(np.ones((3, 4))) == len(WIDTHS)).all()  # an image of one label
    assert border_region((3, 4), 1).tolist() == [[True] * 4, [True, False, False, True], [True] * 4]
    assert border_region((3, 4), 2).all()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 40])
def test_dilation_is_scipy_s_distance_within_the_radius(radius):
    mask = np.random.default_rng(radius).random((23, 31)) < 0.01
    assert np.array_equal(dilate(mask, radius), ndimage.distance_transform_cdt(~mask, "chessboard") <= radius)


@pytest.mark.parametrize("share", [0.01, 0.4, 0.99])
def test_void_filled_area_by_area_is_filled_as_a_whole(share):
    """The nearest of equally near pixels is the same, too."""
    random = np.random.default_rng(1)
    for side, areas in ((1, "many"), (9, "few")):
        void = np.kron(random.random((70 // side, 90 // side)) < share, np.ones((side, side), bool))
        labels = random.integers(0, 99, void.shape)
        nearest = ndimage.distance_transform_edt(void, return_distances=False, return_indices=True)
        assert np.array_equal(fill_void(~void, labels)[0], labels[tuple(nearest)]), areas
