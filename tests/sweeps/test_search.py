"""Searches with optuna: the same trials after a kill, failures that end nothing, and an optimum that is found."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segment.records.job_status import JobRecord
from tests.sweeps.conftest import running_in, until

pytest.importorskip("optuna", reason="needs the extra search")

SEARCH = ("sweep=search", "hydra.sweeper.n_trials=14")


def trials(folder: Path) -> dict[str, str]:
    """Return the state of each trial, by its overrides."""
    found = [JobRecord.read(path) for path in folder.glob("*/job.json")]
    return {" ".join(record.overrides): record.state for record in found if record}


@pytest.mark.slow
def test_a_search_tells_the_best_trial_and_runs_none_twice(sweep, tmp_path, capfd):
    few = ("sweep=search", "hydra.sweeper.n_trials=3", "data.scale=[1.0,1.0]")
    code, jobs = sweep(*few)
    assert (code, len(jobs)) == (0, 3)
    out, err = capfd.readouterr()
    assert out.startswith("search of 3 jobs in sweep\njob 1/3  optimizer.lr=")
    assert "data.scale" not in out.splitlines()[1]  # it is the same for all
    best, following = out.splitlines()[-2:]
    assert best.startswith("best           python -m segment.train optimizer.lr=")
    assert following.startswith("next           python -m segment.report ")
    assert best.endswith("sweep=search 'data.scale=[1.0,1.0]' hydra.mode=RUN")
    assert err == ""
    assert sweep(*few) == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize("failing", [False, True])
def test_a_search_that_is_killed_goes_on_with_the_same_trials(background, sweep, tmp_path, failing):
    if failing:
        (tmp_path / "every-third").touch()
    code, jobs = sweep(*SEARCH, "hydra.sweep.dir=whole")
    assert (code, len(jobs)) == (0, 14)
    whole = trials(tmp_path / "whole")
    assert len(whole) == 14
    assert ({*whole.values()} == {"done", "failed"}) == failing

    process = background(*SEARCH)
    until(lambda: len(list(tmp_path.glob("sweep/*/job.json"))) == 7)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not running_in(tmp_path))  # its last job may only now say that it has started
    before = {overrides for overrides, state in trials(tmp_path / "sweep").items() if state != "running"}
    code, jobs = sweep(*SEARCH)
    assert code == 0
    assert trials(tmp_path / "sweep") == whole
    assert len(jobs) == 14 - len(before)  # failed trials, too, are not run again
    assert not running_in(tmp_path)


@pytest.mark.slow
def test_the_optimum_of_a_stub_is_found_and_more_trials_go_on_from_there(sweep, tmp_path, capfd):
    sweep("sweep=search", "hydra.sweeper.n_trials=14")
    code, jobs = sweep("sweep=search", "hydra.sweeper.n_trials=40")
    assert (code, len(jobs)) == (0, 26)
    best = dict(part.partition("=")[::2] for part in capfd.readouterr().out.splitlines()[-2].split())
    assert 0.007 < float(best["optimizer.lr"]) < 0.014
    assert best["loss"] == "cross_entropy"


@pytest.mark.slow
def test_a_search_of_which_all_trials_fail_is_one_line(sweep, tmp_path):
    (tmp_path / "fault-0").write_text("exit")
    code, _ = sweep("sweep=search", "hydra.sweeper.n_trials=2", "seed=0")
    assert str(code).startswith("error: 2 of 2 jobs failed (see sweep/")
    assert str(code).endswith("delete their folders to run them again")


@pytest.mark.slow
def test_a_key_that_the_net_lacks_ends_the_search_before_its_first_trial(sweep):
    code, jobs = sweep(*SEARCH, "model=unet")
    assert "model.decoder.skip_strides" in str(code)
    assert len(str(code).splitlines()) == 1
    assert not jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", ["optimizer.lr=interval(1,0)", "optimizer.lr=tag(log,interval(-1,1))", "optimizer.lr=range(3,1)"]
)
def test_a_range_that_is_empty_is_one_line(sweep, given):
    code, jobs = sweep(*SEARCH, given)
    assert re.match(r"error: the settings of the search: The `low` value must be .*\)\.$", str(code))
    assert not jobs


@pytest.mark.slow
def test_a_range_that_optuna_does_not_know_is_one_line(sweep):
    code, jobs = sweep(*SEARCH, "loss=glob(*)")
    assert str(code).startswith("error: the settings of the search: expected choice(), interval(), range() or values")
    assert not jobs


@pytest.mark.slow
def test_a_stopped_trial_runs_again(background, sweep, tmp_path):
    (tmp_path / "fault-0").write_text("sleep")
    process = background(*SEARCH, "seed=0")
    until(lambda: list(tmp_path.glob("sweep/*/sleeps")))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (tmp_path / "fault-0").unlink()
    code, jobs = sweep(*SEARCH, "seed=0")
    assert (code, len(jobs)) == (0, 14)


@pytest.mark.slow
def test_a_missing_extra_is_one_line(tmp_path):
    program = (
        "import runpy, sys; sys.modules['hydra_plugins.hydra_optuna_sweeper'] = None; "
        "sys.argv[1:] = ['sweep=search']; runpy.run_module('segment.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == "error: hydra/sweeper=optuna needs an extra: pip install 'segment-lightning[search]'"
    )
