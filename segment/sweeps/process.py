"""One job of a sweep: a fresh process with its own folder, lock and record."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord

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
"""Number of bytes of a job's standard error that are searched for an error message."""


@contextmanager
def job_lock(folder: RunFolder, wait: bool) -> Iterator[int | None]:
    """Hold the lock of a job's folder.

    The lock belongs to the open file, which the job inherits. If the sweep is killed, the lock is held until the job
    has ended.

    Args:
        folder: folder of the job.
        wait: whether to wait for another process that holds it.

    Yields:
        The file descriptor; None if another process holds the lock and ``wait`` is false.

    Raises:
        SegmentError: the folder or a part of it is a link.
    """
    folder.check_links(folder.path)
    with folder.job_lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def run_job(
    command: Sequence[str], folder: RunFolder, overrides: Sequence[str], lock: int | None = None, recorded: bool = True
) -> JobRecord:
    """Run a job, and record its state in ``job.json`` and its error output, if it fails, in ``job.log``.

    Args:
        command: command that starts the job.
        folder: folder of the job.
        overrides: overrides of the job's command line, for ``job.json``.
        lock: file descriptor of the job's lock, which the job inherits.
        recorded: False to write no file.
    """
    record = JobRecord(list(overrides))
    if recorded:
        record.write(folder.job_status)
    code, error = -signal.SIGTERM, "stopped with its sweep"
    try:
        code, text = run_command(command, wandb_environment(folder.path), lock)
        error = find_error(text)
        if recorded and code:
            folder.job_log.write_text(text)
    finally:
        record.end(code, error)
        if recorded:
            record.write(folder.job_status)
    return record


def wandb_environment(folder: Path) -> dict[str, str]:
    """Return the environment with names for wandb's run and group; names that the user has set stay."""
    folder = folder.absolute()
    return {"WANDB_RUN_GROUP": folder.parent.name, "WANDB_NAME": folder.name, **os.environ}


def run_command(command: Sequence[str], environment: Mapping[str, str], lock: int | None = None) -> tuple[int, str]:
    """Run a command to its end, and end everything that it started.

    The command's output goes to the output of this process. If this process is killed, or stopped by an exception
    from a signal handler, the command gets SIGTERM and has :data:`GRACE` seconds to save.

    Returns:
        Exit code, as :class:`subprocess.Popen` has it, and the last part of the standard error.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=() if lock is None else (lock,),
        start_new_session=True,  # a process group of its own, which DDP's other processes belong to
    )
    assert process.stderr is not None
    kept = bytearray()
    copier = Thread(target=_copy, args=(process.stderr, kept), daemon=True)
    copier.start()
    watch = subprocess.Popen(
        ["sh", "-c", WATCH, "sh", str(process.pid), str(GRACE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # otherwise a reader of this process's output would wait for the watch
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait()
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        watch.kill()
        watch.communicate()
        process.wait()
        copier.join(timeout=5)  # a process that has left the group may hold the pipe open
    return process.returncode, kept.decode(errors="replace")


def _copy(source: BinaryIO, kept: bytearray) -> None:
    while chunk := os.read(source.fileno(), 65536):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        kept += chunk
        del kept[:-KEPT]


def find_error(text: str) -> str:
    """Return the line of a process's standard error that names the fault, without hints and warnings.

    Example:
        >>> find_error("note: x\\nTraceback ...\\nValueError: the fault\\nwandb: see wandb.ai")
        'ValueError: the fault'
    """
    noise = ("wandb:", "Set the environment variable HYDRA_FULL_ERROR")
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line) for line in text.splitlines() if not line.startswith(noise)]
    for kind in (r"error: ", r"[\w.]+(Error|Exception|Interrupt|Exit)\b", r"\S"):
        found = [line for line in lines if re.match(kind, line)]
        if found:
            return found[-1].removeprefix("error: ").strip()
    return ""
