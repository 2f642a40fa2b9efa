"""Runs are found at any depth, each once, and those without metrics are listed."""

import os
import shutil

import numpy as np
import pytest

from segment.comparison.find import find_runs
from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.per_image import read_image_counts, write_image_counts
from tests.comparison.conftest import change_metrics, write_job, write_run


def test_broken_and_unfinished_runs_are_listed(strides):
    broken = ("{", "[]", "{}", '{"mIoU": 1, "per_class_IoU": 3}', '{"mIoU": "x", "per_class_IoU": {}}')
    for i, text in enumerate(broken):
        (strides / f"broken{i}").mkdir()
        (strides / f"broken{i}" / "metrics.json").write_text(text)
    write_job(strides / "failed", "failed", signal="SIGKILL", error="out of\nmemory")
    write_job(strides / "running", "running")
    write_job(strides / "odd", "done")
    (strides / "odd" / "job.json").write_text('{"unknown": 1}')
    (strides / "stopped" / "checkpoints").mkdir(parents=True)
    (strides / "stopped" / "checkpoints" / "last.ckpt").touch()
    (strides / "2" / "per_image.npz").write_bytes(b"PK\x03\x04 and no more")
    (strides / "3" / ".hydra" / "hydra.yaml").write_text("{a: [")
    runs, problems, notes = find_runs([strides])
    assert len(runs) == 4
    assert len(problems) == len(broken) + 4
    assert f"{strides}/failed: failed (seed=7): SIGKILL: out of memory" in problems
    assert f"{strides}/running: not finished (seed=7), started 2026-01-01T00:00:00" in problems
    assert notes == [f"{strides}/2: no intervals, per_image.npz is damaged"]


def test_the_order_is_that_of_folders_then_jobs_then_names(tmp_path):
    for name in ("single/run10", "single/run9", "sweep/a", "sweep/b"):
        write_run(tmp_path / name, {}, mIoU=0.1)
    write_job(tmp_path / "sweep" / "a", "done")
    write_job(tmp_path / "sweep" / "b", "done")
    record = RunFolder(tmp_path / "sweep" / "b").job_status
    record.write_text(record.read_text().replace("2026", "2025"))
    runs, _, _ = find_runs([tmp_path / "sweep", tmp_path])
    assert [run.folder.path.name for run in runs] == ["b", "a", "run9", "run10"]


def test_a_run_is_found_once_however_it_is_named(strides, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(strides)
    monkeypatch.chdir(strides)
    assert len(find_runs([strides, tmp_path / "link", strides / ".", strides / "0"])[0]) == 4


def test_no_run_is_searched_among_checkpoints_and_predictions(strides):
    for name in ("checkpoints", "predictions", "wandb"):
        write_run(strides / "0" / name / "run", {}, mIoU=0.1)
    assert len(find_runs([strides])[0]) == 4


def test_an_evaluation_that_repeats_another_is_left_out(strides):
    shutil.copytree(strides / "0", strides / "again")
    runs, _, notes = find_runs([strides])
    assert len(runs) == 4
    assert notes == [f"{strides}/again repeats the evaluation of another run: left out"]


def test_a_repeated_evaluation_gives_the_groups_of_its_images(strides):
    counts = read_image_counts(RunFolder(strides / "0").per_image)
    for name, size in (("blocks", 4), ("other blocks", 8), ("same blocks", 4)):
        shutil.copytree(strides / "0", strides / name)
        groups = np.array([str(i // size) for i in range(len(counts.ids))])
        write_image_counts(counts._replace(groups=groups), RunFolder(strides / name).per_image)
    runs, _, notes = find_runs([strides])
    found = runs[0].counts
    assert found is not None
    assert found.groups is not None
    assert len({*found.groups}) == 10
    repeats = "repeats the evaluation of another run: left out"
    assert notes == [
        f"{strides}/blocks {repeats}, but for its groups of images",
        f"{strides}/other blocks {repeats}, with its groups of images, which differ",
        f"{strides}/same blocks {repeats}",
    ]


def test_scores_on_training_images_are_noted(strides):
    change_metrics(strides / "1", images_trained_on=7)
    _, _, [note] = find_runs([strides])
    assert note.endswith("1: 7 of 40 evaluation images were in the training set, so these scores are optimistic")


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(SegmentError, match=r"none is no folder: expected one that holds runs"):
        find_runs([tmp_path / "none"])
    assert os.listdir(tmp_path) == []


def test_masks_that_changed_in_their_folder_are_another_evaluation(tmp_path):
    for name, score in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        write_run(tmp_path / name, {"checkpoint": None}, mIoU=score, predictions="/masks")
    runs, _, notes = find_runs([tmp_path])
    assert [run.metrics["mIoU"] for run in runs] == [0.1, 0.2]
    assert len(notes) == 1
