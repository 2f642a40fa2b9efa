"""The metrics, files and pictures that an evaluation leaves."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from segment.comparison.paired import paired_interval
from segment.data.classes import Classes
from segment.evaluation.evaluator import EvaluationAccumulator
from segment.evaluation.examples import Example
from segment.evaluation.intervals import miou_interval
from segment.evaluation.results import (
    all_metrics,
    count_trained_on,
    describe_source,
    mean_over_groups,
    result_notes,
    write_results,
)
from segment.prediction.inference import Inference
from segment.records.folder import RunFolder
from segment.records.per_image import read_image_counts

CLASSES = Classes(("background", "sky", "car"), ((0, 0, 0), (0, 0, 99), (99, 0, 0)), frozenset({"sky"}))
SOURCE = {"split": "val", "images": 4, "protocol": "single scale", "checkpoint": "best.ckpt"}


@pytest.fixture
def evaluation():
    accumulator = EvaluationAccumulator(CLASSES, boundary=True)
    prediction, truth = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 4, 12, 16)))
    accumulator.update(prediction, truth)
    return accumulator.pop_result(world_size=1, images=4)


def test_metrics_by_class_name_with_the_interval(evaluation):
    found, interval = all_metrics(evaluation), miou_interval([evaluation.counts])
    assert found["mIoU"] == pytest.approx(interval.value)
    assert found["mIoU_interval"] == [interval.low, interval.high]
    assert (found["mIoU_interval_images"], found["mIoU_interval_rare_classes"]) == (4, 3)
    assert (found["mIoU_interval_note"], found["mIoU_interval_groups"]) == ("", None)
    assert found["mIoU_interval_covers"] == interval.describe()
    assert list(found["per_class_IoU"]) == list(CLASSES.names)
    assert list(found["boundary"]["per_class_boundary_IoU"]) == list(CLASSES.names)
    assert found["mIoU_stuff"] == found["per_class_IoU"]["sky"]
    assert isinstance(evaluation.metrics["per_class_IoU"], list)  # the evaluation itself is not changed


def test_groups_of_images_are_used_and_written(evaluation, tmp_path, capfd):
    evaluation = dataclasses.replace(evaluation, groups=np.array(["b", "a", "b", "c"]))
    found, interval = all_metrics(evaluation), miou_interval([evaluation.counts], groups=evaluation.groups)
    assert found["mIoU_interval"] == [interval.low, interval.high]
    assert found["mIoU_interval_groups"] == 3
    write_results(found | SOURCE, evaluation, SimpleNamespace(id=str), {}, RunFolder(tmp_path))
    shown = capfd.readouterr().out
    assert "note: the interval is over the choice of 4 images in 3 groups, not of training seeds" in shown
    assert "note: the interval is uncertain: 3 groups are fewer than 10\n" in shown
    counts = read_image_counts(RunFolder(tmp_path).per_image)
    assert counts.groups.tolist() == ["b", "a", "b", "c"]
    assert paired_interval([counts]) == interval  # segment.report's


def test_means_over_groups_of_classes():
    classes = Classes(("background", "sky", "car", "bus"), ((0, 0, 0),) * 4, frozenset({"sky"}))
    found = mean_over_groups({"background": 0.9, "sky": 0.4, "car": 0.2, "bus": None}, classes)
    expected = {"mIoU_without_background": 0.3, "mIoU_things": 0.2, "mIoU_stuff": 0.4}
    assert found == pytest.approx(expected)
    assert mean_over_groups({"a": 0.5, "b": 0.1}, Classes(("a", "b"), ((0, 0, 0),) * 2)) == {}


def test_images_are_found_among_the_training_images_by_their_fingerprints():
    images = [("a", "b"), ("c",), ("d", "e")]
    assert count_trained_on({"images": ["b", "e", "x"]}, images) == 2
    assert count_trained_on({"images": ["x"]}, images) == 0
    for unknown in ({}, {"images": []}, {"images": "b"}):
        assert count_trained_on(unknown, images) is None


def test_the_source_names_data_protocol_and_checkpoint(tmp_path, monkeypatch):
    data = SimpleNamespace(
        name="own",
        location=lambda: {"root": "/own"},
        dataset=lambda split: SimpleNamespace(listing_hash=lambda: f"hash of {split}"),
        fingerprints=lambda dataset: [("a",), ("b",), ("c",)],
        describe_folds=lambda split: {},
    )
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    path = RunFolder(".").path / "best.ckpt"
    found = describe_source(data, "val", Inference(), {"images": ["b", "c"]}, path, 2, "32-true")
    assert found.pop("protocol").startswith("single scale, whole images; one image at a time at original resolution")
    assert len(found.pop("checkpoint_digest")) == 16
    assert found == {
        "data": "own",
        "root": "/own",
        "files": "hash of val",
        "split": "val",
        "images": 2,
        "images_trained_on": 1,  # the third image was not evaluated
        "precision": "32-true",
        "checkpoint": str(tmp_path / "best.ckpt"),
    }


def test_everything_is_written_and_the_table_is_printed(evaluation, tmp_path, capfd):
    folder, image = RunFolder(tmp_path), np.zeros((12, 16, 3), np.uint8)
    example = Example("two", image, image[..., 0], image[..., 0])
    dataset = SimpleNamespace(id=lambda i: ("one", "two", "three", "four")[i])
    metrics = all_metrics(evaluation) | SOURCE
    write_results(metrics, evaluation, dataset, {"worst_1_two": example}, folder)
    assert json.loads(folder.metrics.read_text()) == metrics
    counts = read_image_counts(folder.per_image)
    assert counts.ids.tolist() == ["one", "two", "three", "four"]
    assert np.array_equal(counts.pixels, evaluation.counts)
    with folder.confusion_csv.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true \\ predicted", *CLASSES.names]
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), evaluation.confusion)
    assert [path.name for path in folder.predictions.iterdir()] == ["worst_1_two.png"]
    assert Image.open(folder.confusion_plot).width > 100
    assert not folder.curves_plot.exists()  # there is no metrics.csv
    assert "mean IoU" in capfd.readouterr().out


def test_curves_are_drawn_where_there_are_logged_values(evaluation, tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics_csv.write_text("epoch,step,train/loss,val/mIoU\n0,1,2.0,\n0,2,,0.5\n")
    dataset = SimpleNamespace(id=str)
    write_results(all_metrics(evaluation) | SOURCE, evaluation, dataset, {}, folder)
    assert Image.open(folder.curves_plot).width > 100


def test_notes_on_a_net_of_one_class_and_on_a_split_without_labels():
    accumulator = EvaluationAccumulator(Classes(("road", "car"), ((0, 0, 0), (9, 9, 9))))
    truth = torch.tensor([[[0, 1]]])
    accumulator.update(torch.zeros_like(truth), truth)
    [note] = result_notes(accumulator.pop_result(1, 1))
    assert note.startswith("the net predicts 'road' for every pixel: train longer")
    accumulator.update(torch.zeros_like(truth), truth)
    [note] = result_notes(accumulator.pop_result(1, 1), of_net=False)
    assert note == "the predictions have 'road' for every pixel"
    accumulator.update(truth, truth)
    assert result_notes(accumulator.pop_result(1, 1)) == []
    accumulator.update(truth, torch.zeros_like(truth))
    assert result_notes(accumulator.pop_result(1, 1))[0].startswith("all labelled pixels of the split are 'road', so")
    accumulator.update(truth, torch.full_like(truth, 255))
    [note] = result_notes(accumulator.pop_result(1, 1))
    assert note.startswith("no pixel of the split is labelled")
