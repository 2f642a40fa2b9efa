"""One job: its process ends with the sweep, and its fault is recorded."""

import json
import signal
import subprocess
import sys

import pytest

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.sweeps.process import JobProcess, find_error, job_lock, run_job, wandb_environment
from tests.sweeps.conftest import running_in, until

STUBBORN = """
import os, signal, subprocess, sys, time
import segment.sweeps.process
from segment.records.folder import RunFolder
segment.sweeps.process.GRACE = 1
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
job = "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.run(['sleep', '1000'])"
segment.sweeps.process.run_job([sys.executable, "-c", job], RunFolder("."), [])
"""


@pytest.mark.usefixtures("tidy")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_job_that_ignores_the_signal_to_stop_is_killed(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], cwd=tmp_path, stderr=subprocess.DEVNULL)
    until(lambda: [p for p in running_in(tmp_path) if p.name() == "sleep"])
    process.send_signal(number)
    process.wait(60)
    until(lambda: not running_in(tmp_path))


def test_the_output_of_a_job_is_shown_or_goes_to_its_log(tmp_path, capfd):
    program = "import sys; print('out', flush=True); sys.exit('error: x')"
    record = run_job([sys.executable, "-c", program], RunFolder(tmp_path), [])
    assert (record.exit_code, record.error) == (1, "x")
    assert capfd.readouterr() == ("out\n", "error: x\n")
    job = JobProcess([sys.executable, "-c", program], RunFolder(tmp_path), [], shown=False)
    job.process.wait()
    record = job.end()
    assert (record.exit_code, record.error) == (1, "x")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "job.log").read_text() == "error: x\nout\nerror: x\n"


def test_the_last_line_of_a_log_is_no_error(tmp_path):
    job = JobProcess([sys.executable, "-c", "print('epoch 1', flush=True); 1/0"], RunFolder(tmp_path), [], shown=False)
    job.process.kill()
    assert job.end().reason == "SIGKILL"


def test_a_job_leaves_no_process_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = "import subprocess; subprocess.Popen(['sleep', '1000'])"
    run_job([sys.executable, "-c", program], RunFolder(tmp_path), [])
    until(lambda: not running_in(tmp_path))


@pytest.mark.parametrize(
    ("program", "state", "reason"),
    [
        ("", "done", ""),
        ("1/0", "failed", "ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", "failed", "exit code 3"),
    ],
)
def test_a_job_leaves_its_record_and_a_failed_one_its_output(tmp_path, program, state, reason):
    folder = RunFolder(tmp_path)
    record = run_job([sys.executable, "-c", program], folder, ["seed=0"])
    assert (record.state, record.reason) == (state, reason)
    assert json.loads(folder.job_status.read_text())["state"] == state
    assert folder.job_log.is_file() == (state == "failed")


def test_the_command_of_a_record_has_the_user_s_own_folder_of_yaml(tmp_path):
    program = [sys.executable, "-c", "", "--config-dir", "my conf"]
    record = run_job(program, RunFolder(tmp_path), ["sweep=mine"])
    assert record.command == "python -m segment.train --config-dir 'my conf' sweep=mine hydra.mode=RUN"
    assert JobRecord.read(RunFolder(tmp_path).job_status) == record
    assert JobRecord(["seed=1"]).command == "python -m segment.train seed=1"


def test_a_job_of_another_slurm_process_writes_nothing(tmp_path):
    record = run_job([sys.executable, "-c", "1/0"], RunFolder(tmp_path), [], recorded=False)
    assert record.state == "failed"
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_job_is_held_once(tmp_path):
    with job_lock(RunFolder(tmp_path)) as first:
        assert first is not None
        with job_lock(RunFolder(tmp_path)) as second:
            assert second is None
    with job_lock(RunFolder(tmp_path)) as third:
        assert third is not None


@pytest.mark.parametrize("linked", ["run", "run/job.lock", "run/job.log"])
def test_a_job_writes_through_no_link(tmp_path, linked):
    """The folder of a sweep may be a stranger's."""
    own = tmp_path / "own"
    if linked == "run":
        own.mkdir()
    else:
        own.write_text("the user's")
        (tmp_path / "run").mkdir()
    (tmp_path / linked).symlink_to(own)
    with pytest.raises(SegmentError, match="is a link"), job_lock(RunFolder(tmp_path / "run")):
        pass
    assert not [*own.iterdir()] if own.is_dir() else own.read_text() == "the user's"


def test_wandb_gets_the_names_of_sweep_and_job_unless_the_user_has_some(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "mine")
    environment = wandb_environment(tmp_path / "sweep" / "job")
    assert (environment["WANDB_RUN_GROUP"], environment["WANDB_NAME"]) == ("sweep", "mine")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("warning: x\nerror: the fault\n", "the fault"),
        ("Traceback (most recent call last):\n  f()\nsome.OddError: the fault\n\n"
         "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n", "some.OddError: the fault"),
        ("10%\r20%\rerror: the fault\nwandb: see wandb.ai\n  warnings.warn(\n", "the fault"),
        ("[rank0]:   f()\n[rank0]: ValueError: the fault\n[rank0]:[W1123] x\n", "ValueError: the fault"),
        ("Key 'x' is not in struct\n    full_key: x\n    object_type=dict\n", "Key 'x' is not in struct"),
    ],
)  # fmt: skip
def test_the_error_line_is_found_among_hints_and_warnings(text, line):
    assert find_error(text) == line
