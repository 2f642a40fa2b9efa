"""Calibration equals a count by hand and torchmetrics, on any split of the images over processes."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from segment.evaluation.calibration import BINS, CalibrationScores


def random_pixels(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return probabilities (2,5,30,40), labels with ignored pixels, and predicted classes."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(2, 5, 30, 40, generator=generator)).softmax(1)
    truth = torch.randint(0, 5, (2, 30, 40), generator=generator)
    truth[torch.rand(truth.shape, generator=generator) < 0.6] = probabilities.argmax(1)[0, 0, 0]
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    return probabilities, truth, probabilities.argmax(1)


def test_it_equals_a_count_by_hand():
    probabilities, truth, prediction = random_pixels(0)
    scores = CalibrationScores()
    scores.update(prediction, truth, probabilities.amax(1))
    bins = [[] for _ in range(15)]
    for c, t, p in zip(*(part.flatten().tolist() for part in (probabilities.amax(1), truth, prediction)), strict=True):
        if t != 255:
            bins[min(int(c * 15), 14)].append((c, t == p))
    total, found = sum(map(len, bins)), scores.compute()
    expected = sum(
        abs(np.mean([r for _, r in part]) - np.mean([c for c, _ in part])) * len(part) / total for part in bins if part
    )
    assert found["expected_calibration_error"] == pytest.approx(expected, abs=1e-7)
    for part, ours in zip(bins, found["bins"], strict=True):
        assert ours["pixels"] == len(part)
        assert ours["accuracy"] == (pytest.approx(np.mean([r for _, r in part])) if part else None)
        assert ours["confidence"] == (pytest.approx(np.mean([c for c, _ in part])) if part else None)


def test_it_equals_torchmetrics():
    probabilities, truth, prediction = random_pixels(1)
    theirs = MulticlassCalibrationError(5, n_bins=BINS, norm="l1", ignore_index=255)
    scores = CalibrationScores()
    scores.update(prediction, truth, probabilities.amax(1))
    assert scores.compute()["expected_calibration_error"] == pytest.approx(
        float(theirs(probabilities, truth)), abs=1e-6
    )


def test_the_sums_do_not_depend_on_the_order_of_images():
    probabilities, truth, prediction = random_pixels(2)
    one, two = CalibrationScores(), CalibrationScores()
    one.update(prediction, truth, probabilities.amax(1))
    for i in (1, 0):
        two.update(prediction[i : i + 1], truth[i : i + 1], probabilities.amax(1)[i : i + 1])
    assert torch.equal(one.sums, two.sums)


def test_full_confidence_and_no_counted_pixel():
    scores = CalibrationScores()
    scores.update(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255), torch.ones(1, 2, 2))
    assert scores.compute()["expected_calibration_error"] is None
    scores.update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.ones(1, 2, 2))
    found = scores.compute()
    assert (found["expected_calibration_error"], found["bins"][14]) == (
        0,
        {"pixels": 4, "confidence": 1, "accuracy": 1},
    )
