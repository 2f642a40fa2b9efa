"""Metrics equal a count by hand, torchmetrics' JaccardIndex and, where they are installed, other packages' metrics."""

import importlib.util
import itertools
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from segment.evaluation.metrics import SegmentationScores, confusion_metrics, count_pairs
from tests.evaluation.counting import counts_by_hand, metrics_by_hand, mixed_cases, random_case


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_a_count_by_hand(seed):
    prediction, truth = random_case(seed)
    metric = SegmentationScores(6)
    for p, t in zip(prediction, truth, strict=True):  # image by image: one confusion matrix for all
        metric.update(p[None], t[None])
    found, expected = metric.compute(), metrics_by_hand(prediction.numpy(), truth.numpy(), 6)
    assert found["per_class_IoU"][4] is None
    assert found["per_class_recall"][2] is None
    for name in ("IoU", "precision", "recall", "Dice"):
        assert found.pop(f"per_class_{name}") == pytest.approx(expected.pop(f"per_class_{name}"))
    assert found == pytest.approx(expected, rel=1e-12)


def test_miou_and_confusion_matrix_equal_torchmetrics():
    prediction, truth = random_case(7)
    theirs = MulticlassJaccardIndex(6, average="macro", ignore_index=255)
    theirs.update(prediction, truth)
    ours = SegmentationScores(6)
    ours.update(prediction, truth)
    assert torch.equal(ours.confmat, theirs.confmat)
    assert ours.compute()["mIoU"] == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_precision_recall_and_dice_equal_torchmetrics():
    prediction, truth = random_case(8)
    options = {"num_classes": 6, "average": "none", "ignore_index": 255}
    found = confusion_metrics(count_pairs(prediction, truth, 6).sum(0))
    for name, metric in (("precision", MulticlassPrecision), ("recall", MulticlassRecall), ("Dice", MulticlassF1Score)):
        values = [0.0 if value is None else value for value in found[f"per_class_{name}"]]
        assert values == pytest.approx(metric(**options)(prediction, truth).tolist(), abs=1e-6)


def test_ignored_pixels_alone_give_nan_and_no_class():
    metric = SegmentationScores(3)
    metric.update(torch.zeros(1, 4, 4, dtype=torch.int64), torch.full((1, 4, 4), 255))
    found = metric.compute()
    assert found["per_class_IoU"] == [None] * 3
    assert all(found[key] != found[key] for key in found if not key.startswith("per_class_"))


def test_counts_beyond_float32_stay_exact():
    confusion = torch.tensor([[2**33 + 1, 1], [0, 2**33]])
    assert confusion_metrics(confusion)["pixel_accuracy"] == (2**34 + 1) / (2**34 + 2)


def counted(images: list[tuple[np.ndarray, np.ndarray]], dtype: torch.dtype = torch.int64, device: str = "cpu"):
    metric = SegmentationScores(6).to(device)
    for prediction, truth in images:
        metric.update(*(torch.from_numpy(part)[None].to(device, dtype) for part in (prediction, truth)))
    return metric


def test_counts_of_each_image_equal_a_count_by_hand():
    metric = counted(mixed_cases())
    confusion = np.zeros((6, 6), np.int64)
    for prediction, truth in mixed_cases():
        np.add.at(confusion, (truth[truth != 255], prediction[truth != 255]), 1)
    assert np.array_equal(metric.per_image().numpy(), counts_by_hand())
    assert np.array_equal(metric.confmat.numpy(), confusion)


def test_counts_are_the_same_for_all_integer_types_devices_and_numbers_of_classes():
    expected = counted(mixed_cases()).confmat
    devices = ["cpu", *["cuda"] * torch.cuda.is_available()]
    for dtype, device in itertools.product((torch.uint8, torch.int32, torch.int64), devices):
        assert torch.equal(counted(mixed_cases(), dtype, device).confmat.cpu(), expected)
        for classes in (150, 180, 181, 255):  # the pairs of 181 classes are the first that need more than 16 bits
            labels = torch.arange(256, device=device).to(dtype)
            pairs = labels[:classes].expand(1, 256, classes), labels[:, None].expand(1, 256, classes)
            assert torch.equal(count_pairs(*pairs, classes)[0].cpu(), torch.ones(classes, classes))


def test_counts_equal_mmsegmentation(monkeypatch):
    ops = ModuleType("mmcv.ops")  # mmcv-lite has no such module, and mmsegmentation imports this one name from it
    ops.point_sample = None  # type: ignore[attr-defined]  # added to an empty module
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)
    metrics = pytest.importorskip("mmseg.evaluation.metrics", exc_type=ImportError)
    areas = [
        metrics.IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t), 6, 255)
        for p, t in mixed_cases()
    ]
    hits, union, predicted, truth = (torch.stack(part).long() for part in zip(*areas, strict=True))
    assert torch.equal(counted(mixed_cases()).per_image(), torch.stack([hits, truth, predicted], 1))
    assert torch.equal(union, truth + predicted - hits)


def test_metrics_equal_torchfcn():
    found = importlib.util.find_spec("torchfcn")
    if found is None:
        pytest.skip("needs torchfcn: pip install --no-deps torchfcn==1.9.7")
    path = Path(found.submodule_search_locations[0]) / "utils.py"  # the package itself imports what its trainer needs
    label_accuracy_score = runpy.run_path(str(path))["label_accuracy_score"]
    theirs = label_accuracy_score([t for _, t in mixed_cases()], [p for p, _ in mixed_cases()], 6)
    ours = counted(mixed_cases()).compute()
    keys = ("pixel_accuracy", "mean_accuracy", "mIoU", "frequency_weighted_IoU")
    assert [ours[key] for key in keys] == pytest.approx(theirs, abs=1e-9)
