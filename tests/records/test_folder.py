"""Every file of a run folder has one path, and only files of this package are deleted."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from segment.errors import SegmentError
from segment.records.folder import RunFolder, checkpoint_path
from segment.training.faults import occupied
from segment.training.resume import apply_recorded_overrides


def test_all_paths_lie_in_the_folder(tmp_path):
    folder = RunFolder(str(tmp_path))
    paths = [value for key, value in vars(folder).items() if key != "path"]
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert len({*paths}) == len(paths)
    assert folder.best_checkpoint == tmp_path / "checkpoints" / "best.ckpt"


def test_the_folder_of_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert RunFolder.of_checkpoint(folder.last_checkpoint) == folder
    folder.checkpoints.mkdir(parents=True)
    folder.last_checkpoint.touch()
    link = tmp_path / "linked.ckpt"
    link.symlink_to(folder.last_checkpoint)
    assert folder.holds(link)
    assert not RunFolder(tmp_path).holds(link)


def test_folders_are_equal_by_their_real_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunFolder("a") == RunFolder(tmp_path / "b" / ".." / "a")
    assert len({RunFolder("a"), RunFolder(tmp_path / "a")}) == 1
    assert RunFolder("a") != Path("a")


def test_a_run_is_a_folder_with_metrics_a_job_or_a_checkpoint(tmp_path):
    for number, name in enumerate(("metrics", "job_status", "last_checkpoint")):
        folder = RunFolder(tmp_path / str(number))
        assert not folder.is_run
        path = getattr(folder, name)
        path.parent.mkdir(parents=True)
        path.touch()
        assert folder.is_run


def test_only_the_metrics_and_pictures_of_an_earlier_run_are_deleted(tmp_path):
    folder = RunFolder(tmp_path)
    folder.clear_results()  # an empty folder is no error
    folder.predictions.mkdir()
    own = [folder.metrics, folder.predictions / "00000.png"]
    kept = [folder.metrics_csv, folder.provenance, tmp_path / "notes.txt", folder.predictions / "notes.txt"]
    for path in own + kept:
        path.touch()
    folder.written.write_text("metrics.json\npredictions/00000.png\n")
    folder.checkpoints.mkdir()
    part = folder.checkpoints / f".{hashlib.sha256(b'last.ckpt').hexdigest()[:16]}.12.part"  # of a killed process
    part.touch()
    folder.clear_results()
    assert not any(path.exists() for path in [*own, part])
    assert all(path.exists() for path in kept)


def test_only_recorded_pictures_are_deleted(tmp_path):
    folder = RunFolder(tmp_path)
    folder.predictions.mkdir()
    mine, outside = folder.predictions / "mine.png", tmp_path / "outside.png"
    for path in (mine, outside, tmp_path / "metrics.txt"):
        path.write_text("the user's")
    [picture, second] = folder.claim_pictures(["a", "mine"])
    assert (picture.name, second.name) == ("a.png", "mine_2.png")
    picture.write_text("ours")
    second.write_text("ours")
    (folder.predictions / "link.png").symlink_to(outside)
    entries = [
        "predictions/../outside.png",
        "predictions/link.png",
        "/etc/passwd",
        "predictions/",
        "predictions/..",
        "",
    ]
    folder.written.write_text(folder.written.read_text() + "\n".join(entries))
    folder.clear_results()
    assert {path.name for path in folder.predictions.iterdir()} == {"mine.png", "link.png"}
    assert outside.read_text() == mine.read_text() == "the user's"


@pytest.mark.parametrize("name", ["curves.png", "provenance.json", "results.tgz", "results.zip"])
def test_a_foreign_file_under_the_name_of_a_result_is_found(tmp_path, name):
    (tmp_path / name).write_text("the user's")
    with pytest.raises(SegmentError, match=rf"{name} exists, and no run of this package wrote it"):
        RunFolder(tmp_path).claim()
    (tmp_path / name).unlink()
    RunFolder(tmp_path).claim()
    (tmp_path / name).write_text("ours")
    RunFolder(tmp_path).claim()


def test_a_check_claims_its_own_files_alone(tmp_path):
    folder = RunFolder(tmp_path)
    folder.curves_plot.write_text("of a training")
    folder.claim(folder.data_report)
    folder.data_report.write_text("ours")
    folder.data_plot.write_text("the user's")
    with pytest.raises(SegmentError, match=r"check.png exists, and no run"):
        folder.claim(folder.data_report, folder.data_plot)


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path):
    with pytest.raises(SegmentError, match=r": expected a run folder with checkpoints/best.ckpt, or a checkpoint$"):
        checkpoint_path(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for path in (RunFolder(tmp_path).best_checkpoint, tmp_path / "epoch=12.ckpt"):
        path.touch()
    assert checkpoint_path(str(tmp_path)) == RunFolder(tmp_path).best_checkpoint
    assert checkpoint_path(tmp_path / "epoch=12.ckpt") == tmp_path / "epoch=12.ckpt"
    assert checkpoint_path(tmp_path / "checkpoints") == RunFolder(tmp_path).best_checkpoint
    with pytest.raises(SegmentError, match=r"^checkpoint=https://a/b.ckpt: expected a file, a run folder or hf://USER"):
        checkpoint_path("https://a/b.ckpt")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SegmentError, match=r"fifo is a named pipe, not a file$"):
        checkpoint_path(tmp_path / "fifo")
    with pytest.raises(SegmentError, match="checkpoint is empty"):
        checkpoint_path("")


@pytest.mark.parametrize(
    "part", ["checkpoints", "predictions", ".hydra", "run.lock", "job.lock", "job.log", "metrics.csv"]
)
def test_a_part_of_a_folder_that_is_a_link_is_refused(tmp_path, monkeypatch, part):
    own = tmp_path / "the user's"
    own.write_text("a\n") if part.endswith(("lock", "log", "csv")) else own.mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / part).symlink_to(own)
    message = rf"{part} is a link, and a run writes into its own folder alone"
    with pytest.raises(SegmentError, match=message), occupied(RunFolder(tmp_path / "run")):
        pass
    monkeypatch.setattr(sys, "argv", ["train", f"resume={tmp_path / 'run'}"])
    with pytest.raises(SegmentError, match=r"is a link"):
        apply_recorded_overrides()
    assert own.is_dir() or own.read_text() == "a\n"


def test_pictures_of_images_with_any_names(tmp_path):
    folder = RunFolder(tmp_path)
    names = ["../x", "a/" + "b" * 250, "ä" * 120, "\udcff"]
    folder.predictions.mkdir()
    for path in folder.claim_pictures(names):
        path.touch()
        assert path.parent == folder.predictions
    folder.clear_results()
    assert not any(folder.predictions.iterdir())
