"""The figures against counts by hand, against torchmetrics' JaccardIndex and, where installed, against peers'."""

import importlib.util
import itertools
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.classification import MulticlassJaccardIndex

from segment.data.classes import Classes
from segment.data.samplers import EvalSampler, in_order
from segment.evaluation.boundary import WIDTHS, BoundaryScores
from segment.evaluation.evaluator import mean_of_some
from segment.evaluation.intervals import interval, mean_iou
from segment.evaluation.metrics import SegmentationScores, count_pairs, scores


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


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of mixed sizes: ignored pixels, a class absent from both, one from truth alone, one image all void."""
    found = [tuple(part[0].numpy() for part in random_case(seed)) for seed in range(4)]
    found.append((found[0][0], np.full_like(found[0][1], 255)))
    return [(p[: 9 + i], t[: 9 + i]) for i, (p, t) in enumerate(found)]


def counted(images: list[tuple[np.ndarray, np.ndarray]], dtype: torch.dtype = torch.int64, device: str = "cpu"):
    metric = SegmentationScores(6).to(device)
    for prediction, truth in images:
        metric.update(*(torch.from_numpy(part)[None].to(device, dtype) for part in (prediction, truth)))
    return metric


def test_counts_equal_pixel_by_pixel_and_image_by_image():
    metric = counted(cases())
    confusion = np.zeros((6, 6), np.int64)
    for row, (prediction, truth) in zip(metric.per_image().numpy(), cases(), strict=True):
        own = np.zeros((6, 6), np.int64)
        np.add.at(own, (truth[truth != 255], prediction[truth != 255]), 1)
        assert np.array_equal(row, [own.diagonal(), own.sum(1), own.sum(0)])
        confusion += own
    assert np.array_equal(metric.confmat.numpy(), confusion)
    devices = ["cpu", *["cuda"] * torch.cuda.is_available()]
    for dtype, device in itertools.product((torch.uint8, torch.int32, torch.int64), devices):
        assert torch.equal(counted(cases(), dtype, device).confmat.cpu(), metric.confmat)
        for classes in (150, 180, 181, 255):  # 181 are the first whose pairs 16 bits cannot number
            labels = torch.arange(256, device=device).to(dtype)
            pairs = labels[:classes].expand(1, 256, classes), labels[:, None].expand(1, 256, classes)
            assert torch.equal(count_pairs(*pairs, classes)[0].cpu(), torch.ones(classes, classes))


def test_counts_equal_mmsegmentations(monkeypatch):
    ops = ModuleType("mmcv.ops")  # mmcv-lite has none, and mmsegmentation's transforms want this one name
    ops.point_sample = None  # type: ignore[attr-defined]  # an empty module is made to have it
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)
    metrics = pytest.importorskip("mmseg.evaluation.metrics", exc_type=ImportError)
    areas = [
        metrics.IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t), 6, 255) for p, t in cases()
    ]
    hits, union, predicted, truth = (torch.stack(part).long() for part in zip(*areas, strict=True))
    assert torch.equal(counted(cases()).per_image(), torch.stack([hits, truth, predicted], 1))
    assert torch.equal(union, truth + predicted - hits)


def test_figures_equal_torchfcns():
    found = importlib.util.find_spec("torchfcn")
    if found is None:
        pytest.skip("needs torchfcn: pip install --no-deps torchfcn==1.9.7")
    path = Path(found.submodule_search_locations[0]) / "utils.py"  # the package imports a trainer's requirements
    label_accuracy_score = runpy.run_path(str(path))["label_accuracy_score"]
    theirs = label_accuracy_score([t for _, t in cases()], [p for p, _ in cases()], 6)
    ours = counted(cases()).compute()
    keys = ("pixel_accuracy", "mean_accuracy", "mIoU", "frequency_weighted_IoU")
    assert [ours[key] for key in keys] == pytest.approx(theirs, abs=1e-9)


def test_interval_is_that_of_mious_of_resampled_images():
    counts = counted(cases()).per_image().numpy()
    rng, figures = np.random.default_rng(3), []
    for _ in range(150):
        hits, truth, predicted = sum(
            weight * image for weight, image in zip(rng.exponential(size=5), counts, strict=True)
        )
        union = truth + predicted - hits
        figures.append(np.mean([h / u for h, u in zip(hits, union, strict=True) if u]))
    assert interval(counts, 150, seed=3) == pytest.approx(np.percentile(figures, [2.5, 97.5]), rel=1e-12)
    assert interval(counts, 150) == interval(counts, 150)
    same = np.repeat(counts[:1], 4, 0)
    assert interval(same, 20) == pytest.approx([float(mean_iou(counts[0]))] * 2)
    assert np.isnan(interval(np.zeros((3, 3, 6), int), 20)).all()


def test_a_class_of_one_image_is_in_every_resample():
    counts = np.tile([[[8], [10], [8]]], (20, 1, 5))  # hit, true and predicted pixels: an IoU of 0.8 in each image
    counts[:, :, 4] = 0
    counts[7, :, 4] = (0, 10, 0)  # never hit
    assert interval(counts, 500) == pytest.approx([0.64, 0.64])


def blobs(seed: int) -> np.ndarray:
    """Three classes with outlines, and void along some."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 5)
    return np.digitize(noise, np.quantile(noise, [0.4, 0.75]))


def test_boundary_iou_follows_its_definition():
    """Cheng et al. (2021), equation 1: masks less themselves eroded d times, the image's border being an outline."""
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
        band = ndimage.maximum_filter(truth, side, mode="nearest") != ndimage.minimum_filter(
            truth, side, mode="nearest"
        )
        expected = reference(prediction[band], truth[band], 3)
        assert found[str(width)] == pytest.approx({k: expected[k] for k in ("mIoU", "pixel_accuracy")}, rel=1e-12)


def test_outlines_in_void_are_free_and_void_alone_gives_no_figure():
    truth = blobs(4)
    edge = ndimage.maximum_filter(truth, 5) != ndimage.minimum_filter(truth, 5)
    prediction = truth.copy()
    truth[edge] = 255
    prediction[edge] = np.random.default_rng(0).integers(0, 3, edge.sum())
    metric = BoundaryScores(3)
    metric.update(torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None])
    assert metric.compute()["per_class_boundary_IoU"] == [1, 1, 1]
    metric.reset()
    metric.update(torch.from_numpy(prediction)[None], torch.full((1, 60, 80), 255))
    assert metric.compute()["boundary_IoU"] is None
    assert metric.compute()["trimap"]["32"] == {"mIoU": None, "pixel_accuracy": None}


@pytest.mark.parametrize(("length", "world_size"), [(7, 1), (7, 2), (7, 3), (2, 3)])
def test_rows_of_all_processes_come_back_in_the_images_order(length, world_size):
    draws = [draw.sample for rank in range(world_size) for draw in EvalSampler(length, rank, world_size)]
    assert in_order(np.array(draws)[:, None], world_size, length).tolist() == [[i] for i in range(length)]


def test_means_over_some_classes():
    classes = Classes(("background", "sky", "car", "bus"), ((0, 0, 0),) * 4, frozenset({"sky"}))
    found = mean_of_some({"background": 0.9, "sky": 0.4, "car": 0.2, "bus": None}, classes)
    expected = {"mIoU_without_background": 0.3, "mIoU_things": 0.2, "mIoU_stuff": 0.4}
    assert found == pytest.approx(expected)
    assert mean_of_some({"a": 0.5, "b": 0.1}, Classes(("a", "b"), ((0, 0, 0),) * 2)) == {}
