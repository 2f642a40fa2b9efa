"""One job of a sweep: a fresh process with a directory, a lock and a status of its own."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from segment.files import whole_file

GRACE = 60
"""Seconds that a job has to save and end when the sweep is told to stop."""
WATCH = """
read _
kill -s TERM $1
for _ in $(seq $2); do kill -s 0 -- -$1 || exit 0; sleep 1; done
kill -s KILL -- -$1
"""
"""What a shell does for a job: its input ends when the sweep is killed; then the job is told to stop, and made to."""
KEPT = 100_000
"""Bytes of a job's standard error that are searched for what went wrong."""


def now() -> str:
    """The time as ISO 8601 in UTC, so that times compare as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Status:
    """What ``job.json`` in a job's directory holds; ``running`` is also what a killed sweep leaves."""

    overrides: list[str]
    state: str = "running"  # or done, or failed
    exit_code: int | None = None
    signal: str | None = None
    error: str = ""
    started: str = field(default_factory=now)
    ended: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Status | None":
        """The status in a job's directory; None where there is none."""
        path = folder / "job.json"
        return cls(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, folder: Path) -> None:
        with whole_file(folder / "job.json") as file:
            file.write(json.dumps(asdict(self), indent=2) + "\n")

    def end(self, code: int, error: str) -> None:
        """Note how the job ended; a negative code is the number of the signal that killed it."""
        self.state, self.ended = "failed" if code else "done", now()
        self.exit_code, self.signal = (code, None) if code >= 0 else (None, signal.Signals(-code).name)
        self.error = error if code else ""

    @property
    def reason(self) -> str:
        """Why a job failed, for a person."""
        if self.state != "failed":
            return ""
        return ": ".join(filter(None, [self.signal, self.error])) or f"exit code {self.exit_code}"


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[int | None]:
    """Hold a job's lock; gives its file descriptor, or None where another process has it and ``wait`` is false.

    The lock is the open file's, which the job inherits: it outlives a sweep that is killed until the job has ended too.
    """
    with (folder / "job.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def run_job(
    command: Sequence[str], folder: Path, overrides: Sequence[str], lock: int | None = None, recorded: bool = True
) -> Status:
    """Run a job in its directory.

    Args:
        lock: file descriptor of its lock, which it inherits.
        recorded: whether ``job.json`` says how it goes.
    """
    status = Status(list(overrides))
    if recorded:
        status.write(folder)
    code, error = -signal.SIGTERM, "stopped with its sweep"
    try:
        code, text = run(command, wandb_names(folder), lock)
        error = what_went_wrong(text)
        if recorded and code:
            (folder / "job.log").write_text(text)
    finally:
        status.end(code, error)
        if recorded:
            status.write(folder)
    return status


def wandb_names(folder: Path) -> dict[str, str]:
    """The environment with wandb's names of a job's run and of its sweep, for a logger that is not given any."""
    folder = folder.absolute()
    return {"WANDB_RUN_GROUP": folder.parent.name, "WANDB_NAME": folder.name, **os.environ}


def run(command: Sequence[str], environment: Mapping[str, str], lock: int | None = None) -> tuple[int, str]:
    """Run a command to its end, and end all that it started.

    Its output goes where ours goes. If we are told to stop (an exception out of a signal handler) or are killed, so is
    the command, by SIGTERM, and has :data:`GRACE` seconds to save.

    Returns:
        Exit code, as :class:`subprocess.Popen` has it, and the end of what it wrote to standard error.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=() if lock is None else (lock,),
        start_new_session=True,  # a group of its own, so that DDP's other processes can be ended with it
    )
    assert process.stderr is not None
    kept = bytearray()
    copier = Thread(target=_copy, args=(process.stderr, kept), daemon=True)
    copier.start()
    watch = subprocess.Popen(
        ["sh", "-c", WATCH, "sh", str(process.pid), str(GRACE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # or who reads our output would wait for the watch too
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
        copier.join(timeout=5)  # what left the group may hold the pipe open
    return process.returncode, kept.decode(errors="replace")


def _copy(source: BinaryIO, kept: bytearray) -> None:
    while chunk := os.read(source.fileno(), 65536):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        kept += chunk
        del kept[:-KEPT]


def what_went_wrong(text: str) -> str:
    """The line of a process's standard error that names its fault, and not the hints and warnings around it."""
    noise = ("wandb:", "Set the environment variable HYDRA_FULL_ERROR")
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line) for line in text.splitlines() if not line.startswith(noise)]
    for kind in (r"error: ", r"[\w.]+(Error|Exception|Interrupt|Exit)\b", r"\S"):
        found = [line for line in lines if re.match(kind, line)]
        if found:
            return found[-1].removeprefix("error: ").strip()
    return ""
