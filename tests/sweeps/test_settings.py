"""Settings of sweeps and searches that make no sense, and the mode that Hydra is told."""

import re
import sys

import pytest
from omegaconf import OmegaConf

from segment.errors import SegmentError
from segment.sweeps.devices import Limits
from segment.sweeps.settings import check_search, find_limits, prepare_sweep, search_limits

SENSIBLE = {
    "n_trials": 2,
    "n_jobs": 1,
    "max_failure_rate": 1.0,
    "direction": "maximize",
    "storage": None,
    "sampler": {"seed": 0},
}


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,GPU-b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_trials": 0}, "n_trials=0: expected a whole number from 1"),
        ({"n_jobs": -1}, "n_jobs=-1: expected a whole number from 1"),
        ({"max_failure_rate": 2.0}, "max_failure_rate=2: expected a number from 0 to 1"),
        ({"max_failure_rate": float("nan")}, "max_failure_rate=nan: expected a number from 0 to 1"),
        ({"direction": "minimize"}, "direction=minimize: expected maximize"),
        ({"direction": ["maximize", "minimize"]}, "direction=[maximize,minimize]: expected maximize"),
        ({"storage": "sqlite"}, "storage=sqlite: expected null, as a search continues from the folders"),
        ({"sampler": {"seed": None}}, "sampler.seed=null: expected a whole number from 0 to 4294967295 and a sampler"),
        ({"sampler": {"seed": -1}}, "sampler.seed=-1: expected a whole number from 0"),
        ({"sampler": {}}, "sampler.seed=null: expected"),
    ],
)
def test_a_search_with_a_setting_that_makes_no_sense_is_refused(given, message):
    check_search(OmegaConf.create(SENSIBLE))
    with pytest.raises(SegmentError, match=f"^{re.escape(f'hydra.sweeper.{message}')}"):
        check_search(OmegaConf.create(SENSIBLE | given))


def prepared(monkeypatch, *arguments: str) -> list[str]:
    """Return what is added to a command line."""
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    prepare_sweep()
    return sys.argv[1 + len(arguments) :]


def test_hydra_is_told_of_a_sweep_of_a_file(monkeypatch):
    assert prepared(monkeypatch, "sweep=lecture", "seed=0,1") == ["hydra.mode=MULTIRUN"]
    for given in (["-m", "sweep=lecture"], ["sweep=lecture", "hydra.mode=RUN"], ["-m", "seed=0,1"], ["seed=0"]):
        assert prepared(monkeypatch, *given) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hydra.sweeper.search_space=", "hydra.sweeper.search_space=: expected the ranges in hydra.sweeper.params"),
        ("sweep=lecture,encoders", "sweep=lecture,encoders: expected one sweep"),
    ],
)
def test_command_lines_that_start_no_sweep(monkeypatch, given, message):
    with pytest.raises(SegmentError, match=f"^{message}"):
        prepared(monkeypatch, "-m", given)


@pytest.mark.parametrize("launcher", ["segment", "joblib"])
def test_the_settings_of_a_search_are_checked_with_each_launcher(monkeypatch, launcher):
    pytest.importorskip("optuna", reason="needs the extra search")
    pytest.importorskip("joblib", reason="needs hydra-joblib-launcher")
    with pytest.raises(SegmentError, match=r"^hydra\.sweeper\.storage=sqlite: expected null"):
        prepared(monkeypatch, "sweep=search", f"hydra/launcher={launcher}", "hydra.sweeper.storage=sqlite")


def test_no_more_trials_run_at_once_than_are_chosen_together(capsys):
    assert search_limits(Limits(4, ["7"]), 1) == Limits(1, ["7"])
    assert capsys.readouterr().out.startswith("note: trials are chosen 1 at a time (hydra.sweeper.n_jobs), and 4 could")
    assert search_limits(Limits(2), 2) == Limits(2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("jobs", "per_device", "expected"),
    [
        (1, 1, Limits()),
        (3, 1, Limits(3, ["7", "GPU-b"])),
        ("auto", 2, Limits(4, ["7", "GPU-b"], 2)),
        (0, 1, "jobs=0: expected a whole number from 1 or auto"),
        ("many", 1, "jobs=many: expected a whole number from 1 or auto"),
        (2, 0.5, "jobs_per_device=0.5: expected a whole number from 1"),
        (1, 2, "jobs_per_device=2 needs hydra.launcher.jobs=auto or a number"),
    ],
)
def test_limits(jobs, per_device, expected):
    if isinstance(expected, Limits):
        assert find_limits(jobs, per_device) == expected
    else:
        with pytest.raises(SegmentError, match=re.escape(f"hydra.launcher.{expected}")):
            find_limits(jobs, per_device)


def test_auto_without_gpus_is_one_job_and_says_so(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_limits("auto", 1).one_by_one
    assert capsys.readouterr().out.startswith("note: no GPU is visible")
