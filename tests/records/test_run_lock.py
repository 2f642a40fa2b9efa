"""A run folder has one living run."""

import subprocess
import sys
import textwrap

import pytest

from segment.errors import SegmentError
from segment.records import run_lock
from segment.records.run_lock import lock_folder

HOLDER = """
import os, sys, time
from pathlib import Path
from segment.records.run_lock import lock_folder
lock = lock_folder(Path(sys.argv[1]))
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(60)
print("locked", flush=True)
time.sleep(60)
"""


def holder(path, kind="alone"):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(path), kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_folder_that_a_living_run_has_is_refused(tmp_path):
    process = holder(tmp_path / "run" / "run.lock")
    with pytest.raises(SegmentError, match=rf"belongs to a run that is still going \(process {process.pid}\)"):
        lock_folder(tmp_path / "run" / "run.lock")
    process.kill()
    process.wait()
    assert lock_folder(tmp_path / "run" / "run.lock") is not None


def test_a_worker_that_outlives_its_run_holds_no_lock(tmp_path):
    process = holder(tmp_path / "run.lock", "fork")
    process.kill()
    process.wait()
    assert lock_folder(tmp_path / "run.lock") is not None


def test_a_resumed_run_waits_for_a_dying_one(tmp_path, monkeypatch):
    process = holder(tmp_path / "run.lock")
    monkeypatch.setattr(run_lock.time, "sleep", lambda _: process.kill() or process.wait())
    assert lock_folder(tmp_path / "run.lock", wait=True) is not None


def test_a_file_of_the_user_s_is_no_lock(tmp_path):
    (tmp_path / "run.lock").write_text("name = 'my project'")
    with pytest.raises(SegmentError, match=r"run.lock exists, and no run of this package wrote it"):
        lock_folder(tmp_path / "run.lock")
    assert (tmp_path / "run.lock").read_text() == "name = 'my project'"


def test_without_locks_there_is_one_line(tmp_path, monkeypatch, capsys):
    import fcntl

    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    assert lock_folder(tmp_path / "run.lock") is None
    assert len(capsys.readouterr().out.splitlines()) == 1
