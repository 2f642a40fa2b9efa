"""The one exception that stands for a user's mistake, and what else has to end with a process."""

import signal
from typing import Any


class SegmentError(Exception):
    """A mistake that the user can mend: the entry points print the message alone, without a traceback.

    A DataLoader's worker wraps what it raises into "Caught ... Original Traceback ...: message" and calls
    the exception's class with that text; keeping only what stands behind our own name undoes it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rsplit("segment.errors.SegmentError: ", maxsplit=1)[-1].strip())


def end_other_processes(trainer: Any) -> None:
    """Kill the processes that this one's Trainer started for DDP: after an error here they would wait for it."""
    kill = getattr(getattr(trainer.strategy, "launcher", None), "kill", None)
    if kill is not None:
        kill(signal.SIGKILL)
