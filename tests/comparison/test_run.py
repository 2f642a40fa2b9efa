"""Settings and metrics of a run, from its own files and from those of the training that it evaluates."""

import json

import pytest

from segment.comparison.nets import NetLoader
from segment.comparison.run import read_counts, read_run
from segment.comparison.sections import build_sections
from segment.errors import SegmentError
from segment.files import checkpoint_digest
from segment.records.folder import RunFolder
from tests.comparison.conftest import change_metrics, random_pixels, write_run


def test_settings_are_without_seeds_and_places(tmp_path):
    config = {"optimizer.lr": 0.1, "data.num_workers": 3, "trainer.enable_progress_bar": False, "seed": 4}
    run = read_run(write_run(tmp_path / "a", config, mIoU=0.1))
    assert run.settings == {"optimizer.lr": 0.1, "model._target_": "segment.models.SegmentationNet"}
    assert (run.seed, run.data, run.is_training) == (4, ("voc", ("background", "cat", "dog")), True)


def test_an_evaluation_has_the_settings_of_its_nets_training(tmp_path):
    trained = write_run(tmp_path / "trained", {"optimizer.lr": 0.1}, mIoU=0.1)
    trained.checkpoints.mkdir()
    trained.best_checkpoint.touch()
    config = {"checkpoint": str(trained.best_checkpoint), "data.root": "/elsewhere"}
    run = read_run(write_run(tmp_path / "evaluated", config, mIoU=0.2, checkpoint=str(trained.best_checkpoint)))
    assert run.settings["optimizer.lr"] == 0.1
    assert run.data_config["root"] == "/elsewhere"
    assert run.net == str(trained.best_checkpoint)
    assert not run.is_training


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        (f"hf://ada/cells@{'0123456789' * 4}", "ada/cells@0123456"),
        ("/shared/cells/config.json", "cells"),
        ("/gone/runs/a/checkpoints/best.ckpt", "a"),
        ("", ""),
    ],
)
def test_a_net_of_unknown_training_is_called_by_its_origin(tmp_path, checkpoint, name):
    assert read_run(write_run(tmp_path, {"checkpoint": checkpoint}, mIoU=0.2, checkpoint=checkpoint)).name == name


def test_predictions_of_another_program_are_runs_without_a_net(tmp_path, report):
    """Each folder of masks is a row, although no checkpoint tells them apart."""
    trained = write_run(tmp_path / "runs/trained", {"optimizer.lr": 0.1}, random_pixels(20, 0.5, 0))
    config = {"checkpoint": None, "predictions.folder": "x", "inference.flip": False, "data.root": "/elsewhere"}
    for name, skill in (("ours", 0.6), ("theirs", 0.7)):
        folder = write_run(tmp_path / f"runs/{name}", config, random_pixels(20, skill, 1))
        change_metrics(
            folder.path,
            predictions=f"/masks/of/{name}",
            checkpoint=None,
            precision=None,
            protocol="masks of class indices; whole split",
        )
    run = read_run(folder)
    assert run.settings == {"predictions": "/masks/of/theirs"}
    assert (run.data_config["root"], run.has_net, run.is_training) == ("/elsewhere", False, False)
    assert read_run(trained).has_net
    shown, rows = report(tmp_path / "runs")
    assert len(rows) == 3
    assert [row["net"] for row in rows] == ["predictions in of/ours", "predictions in of/theirs", "fcn8s"]
    assert not {"settings", "protocol"} & {*shown.split()}
    assert "not comparable" not in shown
    note = "predictions in of/theirs: masks of class indices; how they were predicted is not recorded\n"
    assert note in shown
    [section] = build_sections([run], paper=False)
    assert NetLoader().load(section, section.groups[0]) is None
    [section] = build_sections([read_run(trained)], paper=False)
    assert NetLoader().load(section, section.groups[0]) is None  # its checkpoint is gone
    assert "neither cost nor pictures" in section.notes[-1]


def test_predictions_in_folders_of_one_name_are_rows_of_their_own(tmp_path, report):
    for i, parent in enumerate(("/a", "/b")):
        write_run(tmp_path / f"{i}", {}, mIoU=0.1, predictions=f"{parent}/out/masks")
    text, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["predictions=/a/out/masks", "predictions=/b/out/masks"]
    assert "left out" not in text


def test_paths_are_compared_by_file_and_folder(tmp_path):
    config = {"model.weights": "/home/a/nets/vgg.pth", "loss.note": "/x", "model.encoder.weights": "imagenet"}
    settings = read_run(write_run(tmp_path / "a", config, mIoU=0.1)).settings
    assert settings["model.weights"] == "nets/vgg.pth"
    assert settings["loss.note"] == "/x"
    assert settings["model.encoder.weights"] == "imagenet"


def test_metrics_of_a_checkpoint_that_was_overwritten_are_refused(tmp_path):
    folder = write_run(tmp_path / "a", {}, mIoU=0.1)
    folder.checkpoints.mkdir()
    folder.best_checkpoint.write_bytes(b"a net")
    change_metrics(folder.path, checkpoint_digest=checkpoint_digest(folder.best_checkpoint))
    read_run(folder)
    folder.best_checkpoint.write_bytes(b"other")
    with pytest.raises(SegmentError, match=r"the metrics are those of an earlier .*best.ckpt, which was overwritten"):
        read_run(folder)


@pytest.mark.parametrize(("text", "message"), [("[1]", "Input should be a valid dictionary"), ("{", "Invalid JSON")])
def test_a_damaged_provenance_is_an_error(tmp_path, text, message):
    folder = write_run(tmp_path / "a", {}, mIoU=0.1)
    folder.provenance.write_text(text)
    with pytest.raises(SegmentError, match=message):
        read_run(folder)


def test_counts_belong_to_the_metrics(tmp_path):
    folder = write_run(tmp_path / "a", {}, random_pixels(40, 0.9))
    counts = read_counts(read_run(folder))
    assert counts is not None
    assert counts.pixels.shape == (40, 3, 3)
    change_metrics(folder.path, mIoU=0.1)
    with pytest.raises(SegmentError, match=r"per_image.npz gives mIoU 0.*, metrics.json 0.1: they belong to different"):
        read_counts(read_run(folder))
    folder.per_image.unlink()
    assert read_counts(read_run(folder)) is None


def test_nothing_counted_is_no_contradiction(tmp_path):
    folder = write_run(tmp_path / "a", {}, random_pixels(4, 0.9) * 0, mIoU=None)
    assert read_counts(read_run(folder)) is not None


def test_the_record_of_the_training_comes_before_hydras(tmp_path):
    """A start that is refused overwrites Hydra's."""
    folder = write_run(tmp_path / "a", {"optimizer.lr": 0.1}, mIoU=0.1)
    record = {"config": {"optimizer": {"lr": 0.2}}, "choices": {}, "overrides": [], "config_dirs": [], "directory": "/"}
    folder.provenance.write_text(json.dumps(record))
    assert read_run(RunFolder(folder.path)).settings == {"optimizer.lr": 0.2}
