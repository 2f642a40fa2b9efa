"""``job.json``: the state of a job of a sweep."""

import json
import shlex
import signal
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

from segment.files import whole_file
from segment.records.json_file import read_json

STOPPED = "stopped with its sweep"
"""Error of a job that did not fail by itself."""


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, so that times compare as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class JobRecord:
    """The content of ``job.json``; a sweep that is killed leaves the state ``running``.

    Example:
        >>> record = JobRecord(["seed=0"])
        >>> record.end(-9, "")
        >>> record.state, record.reason
        ('failed', 'SIGKILL')
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    overrides: list[str]
    state: Literal["running", "done", "failed"] = "running"
    exit_code: int | None = None
    signal: str | None = None
    error: str = ""
    started: str = field(default_factory=utc_now)
    ended: str | None = None
    config_dirs: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "JobRecord | None":
        """Read a ``job.json``; None if there is no such file.

        Raises:
            SegmentError: the file is damaged.
        """
        return read_json(path, cls) if path.is_file() else None

    def write(self, path: Path) -> None:
        """Write the record in one step."""
        with whole_file(path) as file:
            file.write(json.dumps(asdict(self), indent=2) + "\n")

    def end(self, code: int, error: str) -> None:
        """Record how the job ended; a negative code is the number of the signal that killed it."""
        self.state, self.ended = "failed" if code else "done", utc_now()
        self.exit_code, self.signal = (code, None) if code >= 0 else (None, signal.Signals(-code).name)
        self.error = error if code else ""

    def is_settled(self, again: bool) -> bool:
        """Return whether the job need not run: it is done, or it failed by itself and ``again`` is false."""
        return self.state == "done" or (self.state == "failed" and self.error != STOPPED and not again)

    @property
    def command(self) -> str:
        """The command that runs the job without its sweep."""
        alone = ["hydra.mode=RUN"] if any(override.startswith("sweep=") for override in self.overrides) else []
        flags = [flag for folder in self.config_dirs for flag in ("--config-dir", folder)]
        return shlex.join(["python", "-m", "segment.train", *flags, *self.overrides, *alone])

    @property
    def reason(self) -> str:
        """The signal, error or exit code of a failed job, as one line; empty if it did not fail."""
        if self.state != "failed":
            return ""
        return ": ".join(filter(None, [self.signal, self.error])) or f"exit code {self.exit_code}"
