"""The processes of one training on a machine: when one of them has died, the others end, and one says which it was.

Without this, they would wait for the dead process for half an hour, or be killed without a word.
"""

import os
import signal
import sys
import time
from subprocess import Popen
from threading import Event, Thread

from segment.records.folder import RunFolder
from segment.records.provenance import way_on

FIRST_PROCESS = "SEGMENT_FIRST_PROCESS"
"""Environment variable by which a process that was started for DDP knows the first one and the run's folder."""
OWN_END = 3.0
"""Seconds in which a process may end by itself when another one has died: its connections break, too."""


class ProcessWatch:
    """Watch the processes that this process has started for DDP, or the one that started it.

    Args:
        folder: of the run.

    Attributes:
        started: by this process.
        first: number of the process that started this one; None in the first process.

    Example:
        >>> ProcessWatch(RunFolder("runs/a")).dead_process() is None
        True
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.started, self._ended = folder, list[Popen](), Event()
        first = os.environ.get(FIRST_PROCESS, "").partition(" ")[0]
        self.first = int(first) if first and os.environ.get("LOCAL_RANK", "0") != "0" else None

    @property
    def speaks(self) -> bool:
        """True in the first process, and in one of those that it started."""
        return os.environ.get("LOCAL_RANK", "0") in ("0", "1")

    def announce(self) -> None:
        """Let the processes that this one will start know it."""
        if self.first is None:
            os.environ[FIRST_PROCESS] = f"{os.getpid()} {self.folder.path.absolute()}"

    def begin(self, started: list[Popen]) -> None:
        """End this process, and those that it started, soon after the death of one of them."""
        self.started = started
        Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        if self.first is None:
            os.environ.pop(FIRST_PROCESS, None)

    def dead_process(self, wait: float = 0.0) -> tuple[str, int] | None:
        """Return a message about a process that has died, and this training's exit code; None if all are alive.

        Args:
            wait: seconds to wait for the end of a process.
        """
        end = time.monotonic() + wait
        while True:
            if self.first is not None and os.getppid() != self.first:
                return f"process 0 of this training (pid {self.first}) has died; {way_on(self.folder)}", 1
            for rank, process in enumerate(self.started, 1):
                if process.poll():
                    how, code = _how_it_ended(process.returncode)
                    return f"process {rank} of this training (pid {process.pid}) {how}; {way_on(self.folder)}", code
            if time.monotonic() >= end:
                return None
            time.sleep(0.1)

    def _run(self) -> None:
        while (found := self.dead_process()) is None:
            if self._ended.wait(0.5):
                return
        if self._ended.wait(OWN_END):
            return
        for process in self.started:
            process.kill()
        if self.speaks:
            print(f"error: {found[0]}", file=sys.stderr, flush=True)
        os._exit(found[1])


def watch_first_process() -> None:
    """Let a process that was started for DDP watch the one that started it, from its beginning."""
    folder = RunFolder(os.environ.get(FIRST_PROCESS, "").partition(" ")[2])
    if (watch := ProcessWatch(folder)).first is not None:
        watch.begin([])


def _how_it_ended(code: int) -> tuple[str, int]:
    """Return how a process ended, and the exit code for the whole training."""
    number = -code if code < 0 else code - 128
    if number in (signal.SIGINT, signal.SIGTERM):  # stopped before the training began
        return f"was stopped by {signal.Signals(number).name}", 128 + number
    return (f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"), 1
