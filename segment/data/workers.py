"""The worker processes of a loader: their number, their signals, and the memory that they share."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from segment.errors import SegmentError

PREFETCH = 2
"""Batches that torch's loaders keep ready for each worker."""
SHARED_MEMORY = Path("/dev/shm")
"""Linux's shared memory."""


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def delay_signals(worker: int) -> None:
    """Let a loader's worker run for another minute when its whole process group receives a signal to stop.

    The training process finishes its step and saves a checkpoint, and needs its workers for that.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(60))
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):  # Ctrl-C and Slurm's are for the training process
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _without_lost_connections


def end_workers() -> None:
    """Kill the workers that live at the end of the program, as after an error.

    multiprocessing asks them to stop and waits for them, and they take a minute, see :func:`delay_signals`.
    """
    from multiprocessing import active_children  # here, since --help needs none of it

    workers = [process for process in active_children() if process.daemon]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error
    for process in workers:
        process.kill()


def _without_lost_connections(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Show an error, except that of a thread of multiprocessing when the training process is killed."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def check_shared_memory(needed: int) -> None:
    """Check that the loader's workers can hand over their batches, which lie in shared memory.

    Without enough of it (a container's default is 64 MB) a training waits for ever.

    Args:
        needed: bytes of the batches of all workers.

    Raises:
        SegmentError: less is free.
    """
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:  # another system's, or one that does not say
        return
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise SegmentError(
            f"{SHARED_MEMORY} has {free / 1e6:.3g} MB free, the loader's workers need {needed / 1e6:.3g} MB: start the "
            "container with a larger --shm-size, or use data.num_workers=0 or a smaller data.batch_size; an evaluation "
            "reads whole images"
        )
