"""A run continues as the run that it was, begins again with its overrides, or is refused."""

import json
import shutil
import sys

import pytest
import torch

from segment.cli.run_folder import read_hydra_record
from segment.comparison.run import read_run
from segment.errors import SegmentError
from segment.records.checkpoint import load_checkpoint
from segment.records.folder import RunFolder
from segment.training.resume import (
    RunStart,
    apply_recorded_overrides,
    find_start,
    moved_paths,
    recorded_overrides,
)
from tests.training.runs import EARLY, read_metrics_of


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_one_without_metrics_is_evaluated(main, trained, capfd):
    overrides = (*EARLY, f"hydra.run.dir={trained}", "resume=auto")
    main("train", *overrides, "data.num_workers=1")
    assert "finished" in capfd.readouterr().out
    before = read_metrics_of(trained)
    (trained / "metrics.json").unlink()  # as if the run was killed between its last step and its evaluation
    main("train", *overrides)
    assert "epoch" not in capfd.readouterr().out
    assert read_metrics_of(trained) == before
    assert load_checkpoint(trained / "checkpoints" / "last.ckpt")["global_step"] == 6


@pytest.mark.slow
def test_a_refused_start_does_not_change_the_record_of_a_run(main, trained):
    with pytest.raises(SystemExit, match="this would be another run"):
        main("train", *EARLY, "data.batch_size=4", f"hydra.run.dir={trained}", "resume=auto")
    assert read_hydra_record(trained / ".hydra")[0]["data"]["batch_size"] == 4  # Hydra has overwritten its own record
    found = read_run(RunFolder(trained))
    assert found.config["data.batch_size"] == 2
    assert found.choices["model"] == "fcn_resnet50"


@pytest.mark.slow
def test_a_finished_run_is_not_resumed_in_the_folder_of_another_run(main, trained, tmp_path, capfd):
    """The metrics and the checkpoint in that folder belong to the other run, and stay there."""
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    with pytest.raises(SystemExit, match="was trained to its end"):
        main("train", *EARLY, f"hydra.run.dir={other}", f"resume={trained}")
    assert "finished" not in capfd.readouterr().out
    assert read_metrics_of(other) == read_metrics_of(trained)
    assert read_run(RunFolder(other)).metrics["mIoU"] == read_run(RunFolder(trained)).metrics["mIoU"]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("data.batch_size=4", "data.batch_size: 2 -> 4"),
        ("seed=1", "seed: 0 -> 1"),
        ("model.encoder.width=4", "model.encoder.width: 8 -> 4"),
        ("callbacks.early_stopping.patience=5", "patience: 10 -> 5"),
        ("resume={}/checkpoints/best.ckpt", "weights only"),
        ("checkpoint.every_n_steps=0", "checkpoint.every_n_steps=0: expected"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(main, trained, override, named):
    (trained / "metrics.json").unlink()
    overrides = (*EARLY, f"hydra.run.dir={trained}", "resume=auto", override.format(trained))
    with pytest.raises(SystemExit, match=r"^error: .*\Z") as ended:
        main("train", *overrides)
    assert named in ended.value.code


@pytest.mark.slow
def test_a_run_is_repeated_from_its_folder(main, trained, capfd):
    record = json.loads((trained / "provenance.json").read_text())
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["config"]["optimizer"]["lr"] == 0.02
    assert [start["step"] for start in record["starts"]] == [0]
    (trained / "provenance.json").write_text(json.dumps({**record, "data": {**record["data"], "val": "other"}}))
    again = main("train", f"repeat={trained}")
    assert again != trained
    assert read_metrics_of(again) == read_metrics_of(trained)
    (note,) = (line for line in capfd.readouterr().out.splitlines() if line.startswith("note: changed"))
    assert note == f"note: changed since {trained} began: data.val: other -> {record['data']['val']}"


CONFIG = {"seed": 0, "trainer": {"max_epochs": 2}, "data": {"batch_size": 8, "root": "voc"}, "compile": False}


def test_length_places_and_hardware_may_differ_when_a_run_is_resumed():
    start = RunStart(RunFolder("run"), record={"config": CONFIG})
    start.check_same_run({**CONFIG, "trainer": {"max_epochs": 3}, "compile": True, "resume": "auto"})
    start.check_same_run({**CONFIG, "data": {"batch_size": 8, "root": "elsewhere", "num_workers": 3}})
    with pytest.raises(SegmentError, match=r"^resume: this would be another run \(seed: 0 -> 1\): keep these values"):
        start.check_same_run({**CONFIG, "seed": 1})
    RunStart(RunFolder("run")).check_same_run({"seed": 1})  # nothing is resumed


def test_a_run_is_finished_with_its_metrics_and_if_it_shall_not_be_longer(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.last_checkpoint.touch()
    start = RunStart(folder, folder.last_checkpoint, {"config": CONFIG})
    assert not start.is_finished(CONFIG)
    folder.metrics.touch()
    assert start.is_finished(CONFIG)
    assert start.is_finished({**CONFIG, "compile": True})
    assert not start.is_finished({**CONFIG, "trainer": {"max_epochs": 3}})
    assert not RunStart(RunFolder(tmp_path / "other"), folder.last_checkpoint, {"config": CONFIG}).is_finished(CONFIG)


def test_the_checkpoint_that_resume_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "run")
    for resume in (None, "auto"):
        assert find_start(resume, folder).checkpoint is None
    assert find_start(None, folder).step == 0
    with pytest.raises(SegmentError, match=r"^resume=run: no checkpoint at run$"):
        find_start("run", folder)
    folder.checkpoints.mkdir(parents=True)
    folder.last_checkpoint.touch()
    for resume in ("auto", "run", "run/checkpoints/last.ckpt"):
        start = find_start(resume, folder)
        assert start.checkpoint == folder.last_checkpoint
        assert start.in_same_folder
    assert not find_start("run", RunFolder("other")).in_same_folder


RECORD = {"overrides": ["data=voc", "seed=1"], "config_dirs": ["/"], "directory": "/", "config": {}, "choices": {}}


def test_the_recorded_overrides_come_before_those_of_the_command_line(monkeypatch, tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps(RECORD))
    recorded = ["--config-dir=/", "data=voc"]
    monkeypatch.setattr(sys, "argv", ["train", f"repeat={tmp_path}", "seed=2"])
    apply_recorded_overrides()
    assert sys.argv == ["train", *recorded, f"repeat={tmp_path}", "seed=2"]
    monkeypatch.setattr(sys, "argv", ["train", f"resume={tmp_path}", "seed=2"])
    apply_recorded_overrides()
    assert sys.argv == ["train", *recorded, f"resume={tmp_path}", "seed=2", f"hydra.run.dir='{tmp_path}'"]
    in_another_folder = ["train", f"resume={tmp_path}", "hydra.run.dir=other"]
    monkeypatch.setattr(sys, "argv", list(in_another_folder))
    apply_recorded_overrides()
    assert sys.argv == in_another_folder


def test_one_job_of_a_sweep_is_repeated_and_not_the_sweep():
    record = {**RECORD, "overrides": ["sweep=encoders", "seed=1"]}
    assert recorded_overrides(record, set()) == [
        "sweep=encoders",
        "seed=1",
        "hydra.mode=RUN",
    ]


@pytest.mark.parametrize("key", ["resume", "repeat"])
def test_a_folder_without_a_run_is_a_clear_error(monkeypatch, tmp_path, key):
    monkeypatch.setattr(sys, "argv", ["train", f"{key}=typo/run"])
    with pytest.raises(SegmentError, match=f"^{key}=typo/run: there is no such file or folder$"):
        apply_recorded_overrides()
    monkeypatch.setattr(sys, "argv", ["train", f"{key}={tmp_path}"])
    with pytest.raises(
        SegmentError,
        match=rf"^{key}=.*: expected a run folder.*provenance.json is missing: start a training anew that was",
    ):
        apply_recorded_overrides()
    monkeypatch.setattr(sys, "argv", ["train", f"{key}="])  # an empty variable of the shell
    with pytest.raises(SegmentError, match=f"^{key} is empty: give {key}=RUN$"):
        apply_recorded_overrides()


def test_relative_paths_of_a_run_are_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "my data").mkdir()
    record = {"directory": str(tmp_path), "config": {"data": {"root": "my data"}, "model": {"weights": None}}}
    monkeypatch.chdir(tmp_path)
    assert moved_paths(record, set()) == []
    monkeypatch.chdir("/")
    assert moved_paths(record, set()) == [f"data.root='{tmp_path}/my data'"]
    assert moved_paths(record, {"data.root"}) == []


@pytest.mark.parametrize(
    ("tasks", "overrides", "added"),
    [
        ("4", ["data=voc"], ["hydra.run.dir=runs/slurm_1234_0", "resume=auto"]),
        ("4", ["resume=null"], ["hydra.run.dir=runs/slurm_1234_0"]),
        ("4", ["hydra.run.dir=mine"], []),
        ("4", ["-m", "seed=0,1"], []),
        ("1", ["data=voc"], []),
    ],
)
def test_the_processes_of_srun_share_a_folder(monkeypatch, tasks, overrides, added):
    """Each process names its default folder by its own clock."""
    for name, value in {"NTASKS": tasks, "PROCID": "3", "JOB_ID": "1234", "STEP_ID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(sys, "argv", ["train", *overrides])
    apply_recorded_overrides()
    assert sys.argv == ["train", *overrides, *added]
