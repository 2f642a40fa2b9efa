"""The figures against a count by hand and against torchmetrics' own JaccardIndex."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from segment.metrics import SegmentationScores, scores


def reference(prediction: np.ndarray, truth: np.ndarray, classes: int) -> dict:
    """Long et al. (2015), section 5, pixel by pixel in plain Python."""
    n = [[0] * classes for _ in range(classes)]
    for p, t in zip(prediction.flat, truth.flat, strict=True):
        if t != 255:
            n[t][p] += 1
    t = [sum(n[i]) for i in range(classes)]
    union = [t[i] + sum(n[j][i] for j in range(classes)) - n[i][i] for i in range(classes)]
    iou = [n[i][i] / union[i] if union[i] else None for i in range(classes)]
    accuracy = [n[i][i] / t[i] for i in range(classes) if t[i]]
    known = [value for value in iou if value is not None]
    return {
        "mIoU": sum(known) / len(known),
        "pixel_accuracy": sum(n[i][i] for i in range(classes)) / sum(t),
        "mean_accuracy": sum(accuracy) / len(accuracy),
        "frequency_weighted_IoU": sum(t[i] * iou[i] for i in range(classes) if t[i]) / sum(t),
        "per_class_IoU": iou,
    }


def random_case(seed: int, classes: int = 6, absent: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and labels with ignored pixels, one class absent from both, one from truth alone."""
    rng = np.random.default_rng(seed)
    prediction, truth = rng.integers(0, classes, (2, 3, 17, 23))
    prediction[prediction == absent] = 0
    truth[(truth == absent) | (truth == 2)] = 1
    truth[rng.random(truth.shape) < 0.2] = 255
    return torch.from_numpy(prediction), torch.from_numpy(truth)


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_a_count_by_hand(seed):
    prediction, truth = random_case(seed)
    metric = SegmentationScores(6)
    for p, t in zip(prediction, truth, strict=True):  # image by image: one confusion matrix for all
        metric.update(p[None], t[None])
    found, expected = metric.compute(), reference(prediction.numpy(), truth.numpy(), 6)
    assert found["per_class_IoU"][4] is None
    assert found.pop("per_class_IoU") == pytest.approx(expected.pop("per_class_IoU"))
    assert found == pytest.approx(expected, rel=1e-12)


def test_miou_and_state_equal_torchmetrics():
    prediction, truth = random_case(7)
    theirs = MulticlassJaccardIndex(6, average="macro", ignore_index=255)
    theirs.update(prediction, truth)
    ours = SegmentationScores(6)
    ours.update(prediction, truth)
    assert torch.equal(ours.confmat, theirs.confmat)
    assert ours.compute()["mIoU"] == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_nothing_but_void_gives_nan_and_no_class():
    metric = SegmentationScores(3)
    metric.update(torch.zeros(1, 4, 4, dtype=torch.int64), torch.full((1, 4, 4), 255))
    found = metric.compute()
    assert found["per_class_IoU"] == [None] * 3
    assert all(found[key] != found[key] for key in found if key != "per_class_IoU")


def test_counts_beyond_float32_stay_exact():
    confusion = torch.tensor([[2**33 + 1, 1], [0, 2**33]])
    assert scores(confusion)["pixel_accuracy"] == (2**34 + 1) / (2**34 + 2)
