"""One job of a sweep: a fresh process with its own folder, lock and record."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from segment.cli.overrides import config_dirs
from segment.records.folder import RunFolder
from segment.records.job_status import STOPPED, JobRecord

GRACE = 60
"""Seconds in which a job has to save and end when its sweep is stopped."""
WATCH = """
read _
kill -s TERM $1
for _ in $(seq $2); do kill -s 0 -- -$1 || exit 0; sleep 1; done
kill -s KILL -- -$1
"""
"""Shell script that ends a job when its sweep is killed: the sweep holds the other end of its standard input."""
KEPT = 100_000
"""Number of bytes of a job's output that are searched for an error message."""


@contextmanager
def job_lock(folder: RunFolder) -> Iterator[int | None]:
    """Hold the lock of a job's folder.

    The lock belongs to the open file, which the job inherits. If the sweep is killed, the lock is held until the job
    has ended.

    Yields:
        The file descriptor; None if another process holds the lock.

    Raises:
        SegmentError: the folder or a part of it is a link.
    """
    folder.check_links(folder.path)
    with folder.job_lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


class JobProcess:
    """A job that runs: a process with its own group and folder, whose state ``job.json`` records.

    If this process is killed, the job gets SIGTERM and has :data:`GRACE` seconds to save.

    Args:
        command: command that starts the job.
        folder: folder of the job.
        overrides: overrides of the job's command line, for ``job.json``.
        locks: file descriptors that the job inherits.
        environment: environment variables besides those of this process.
        shown: True to show the output here, and write the errors of a failed job into ``job.log``; False to write all
            output there.
        recorded: False to write no file.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: RunFolder,
        overrides: Sequence[str],
        *,
        locks: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        shown: bool = True,
        recorded: bool = True,
    ) -> None:
        self.record = JobRecord(list(overrides), config_dirs=config_dirs(command))
        self._folder, self._recorded = folder, recorded
        self._write()
        self._log = None if shown else folder.job_log.open("ab")
        self._log_start = self._log.tell() if self._log else 0
        self._errors = bytearray()
        self.process = subprocess.Popen(
            command,
            env={**wandb_environment(folder.path), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.PIPE if shown else subprocess.STDOUT,
            pass_fds=locks,
            start_new_session=True,  # a process group of its own, which DDP's other processes belong to
        )
        self._copier = Thread(target=_copy, args=(self.process.stderr, self._errors), daemon=True)
        if shown:
            self._copier.start()
        self._watch = subprocess.Popen(
            ["sh", "-c", WATCH, "sh", str(self.process.pid), str(GRACE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # otherwise a reader of this process's output would wait for the watch
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end(self, stopped: bool = False) -> JobRecord:
        """End everything that the job started, and record how it ended.

        Args:
            stopped: whether its sweep was stopped, and the job with it.
        """
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._watch.kill()
        self._watch.communicate()
        code, error = self.process.wait(), self._find_error()
        self.record.end(*((-signal.SIGTERM, STOPPED) if stopped else (code, error)))
        self._write()
        return self.record

    def _find_error(self) -> str:
        if self._log:
            self._log.close()
            with self._folder.job_log.open("rb") as file:
                file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - KEPT))
                return find_error(file.read().decode(errors="replace"), guess=False)
        self._copier.join(timeout=5)  # a process that has left the group may hold the pipe open
        text = self._errors.decode(errors="replace")
        if self._recorded and self.process.returncode:
            self._folder.job_log.write_text(text)
        return find_error(text)

    def _write(self) -> None:
        if self._recorded:
            self.record.write(self._folder.job_status)


def stop_jobs(jobs: Sequence[JobProcess]) -> None:
    """Signal jobs to stop, and give them together :data:`GRACE` seconds to save."""
    try:
        for job in jobs:
            job.process.terminate()
        end = time.monotonic() + GRACE
        for job in jobs:
            with suppress(subprocess.TimeoutExpired):
                job.process.wait(max(0, end - time.monotonic()))
    finally:
        for job in jobs:
            job.end(stopped=True)


def run_job(command: Sequence[str], folder: RunFolder, overrides: Sequence[str], recorded: bool = True) -> JobRecord:
    """Run a job to its end, see :class:`JobProcess`; an exception from a signal handler stops it."""
    job = JobProcess(command, folder, overrides, recorded=recorded)
    try:
        job.process.wait()
    except BaseException:
        stop_jobs([job])
        raise
    return job.end()


def wandb_environment(folder: Path) -> dict[str, str]:
    """Return the environment with names for wandb's run and group; names that the user has set stay."""
    folder = folder.absolute()
    return {"WANDB_RUN_GROUP": folder.parent.name, "WANDB_NAME": folder.name, **os.environ}


def _copy(source: BinaryIO, kept: bytearray) -> None:
    while chunk := os.read(source.fileno(), 65536):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        kept += chunk
        del kept[:-KEPT]


def find_error(text: str, guess: bool = True) -> str:
    """Return the line of a process's output that names the fault, without hints and warnings; empty if none does.

    Args:
        text: the output.
        guess: whether to return the last line if no line looks like an error.

    Example:
        >>> find_error("note: x\\nTraceback ...\\nValueError: the fault\\nwandb: see wandb.ai")
        'ValueError: the fault'
    """
    noise = ("wandb:", "Set the environment variable HYDRA_FULL_ERROR")
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line) for line in text.splitlines() if not line.startswith(noise)]
    for kind in (r"error: ", r"[\w.]+(Error|Exception|Interrupt|Exit)\b", *([r"\S"] if guess else [])):
        found = [line for line in lines if re.match(kind, line)]
        if found:
            return found[-1].removeprefix("error: ").strip()
    return ""
