"""The end of a run, also of one that fails: its processes and loggers end, and the user gets one message."""

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.provenance import way_on
from segment.records.run_lock import lock_folder
from segment.training.last_checkpoint import handle_signals
from segment.training.lightning_internals import end_other_processes, observe_started_processes
from segment.training.processes import OWN_END, ProcessWatch

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class ActiveRun:
    """The loggers and the trainer of a run, which have to end with it."""

    loggers: list[Any] = field(default_factory=list)
    trainer: Any = None


@contextmanager
def occupied(folder: RunFolder, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a run's folder, and record its files as this package's; on rank 0 alone.

    Args:
        folder: the run folder.
        wait: whether to wait some seconds for the end of another run, which this one resumes.

    Raises:
        SegmentError: another run is writing into the folder, or somebody else's file has the name of a result.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]  # set when lightning is imported
        yield
        return
    folder.check_links()
    lock = lock_folder(folder.lock, wait)
    try:
        folder.claim()
        yield
    finally:
        if lock is not None:
            lock.close()


@contextmanager
def ending_run(folder: RunFolder) -> Iterator[ActiveRun]:
    """End the processes and loggers of a run in any case, and turn known errors into messages.

    Raises:
        SegmentError: the disk is full, a process of the run has died, or something called ``sys.exit`` before the run
            was complete.
        SystemExit: the run was stopped by a signal; the code is 143, or 130 for Ctrl-C.
    """
    run, failed, watch = ActiveRun(), 1, ProcessWatch(folder)
    observe_started_processes(watch.begin)
    watch.announce()
    try:
        yield run
        failed = 0
    except SIGTERMException as stop:
        # A code other than 0 from DDP's other processes looks like a crash to the first one.
        sys.exit((stop.code or 128 + signal.SIGTERM) if run.trainer.is_global_zero else 0)
    except (SystemExit, KeyboardInterrupt) as end:
        # SystemExit is Lightning's answer to Ctrl-C.
        if isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt):
            print(f"interrupted; {way_on(folder)}", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        if end.code:
            raise
        raise SegmentError("something ended this run with sys.exit before it was complete: it has no metrics") from end
    except (RuntimeError, OSError) as error:
        message = explain(error, folder, watch)
        if message is None:
            raise
        raise SegmentError(message) from None
    finally:
        watch.end()
        if failed and run.trainer is not None:
            end_other_processes(run.trainer)
        for logger in run.loggers:
            # Otherwise the next run of this process would continue wandb's run.
            if hasattr(logger.experiment, "finish"):
                logger.experiment.finish(exit_code=failed)


@contextmanager
def stoppable(folder: RunFolder) -> Iterator[None]:
    """End the work after a training at SIGTERM, with the way on; a resumed run does that work again.

    Raises:
        SystemExit: at SIGTERM.
    """

    def stop(number: int, frame: Any) -> None:
        print(f"stop requested; {way_on(folder)}", flush=True)
        raise SIGTERMException(128 + number)

    before = signal.getsignal(signal.SIGTERM)
    handle_signals(stop, signal.SIGTERM)
    try:
        yield
    finally:
        handle_signals(before, signal.SIGTERM)


def explain(error: RuntimeError | OSError, folder: RunFolder, watch: ProcessWatch) -> str | None:
    """Return the message for a full disk or a process that died; None for another error.

    Raises:
        SystemExit: another process has died, and another one says so.
    """
    text = str(error).strip()
    if text.startswith("Caught ") and "DataLoader worker" in text:  # the worker's traceback ends with its reason
        text = f"DataLoader worker: {text.splitlines()[-1]}"
    reason = " ".join(text.split())[:150]
    if isinstance(error, OSError):
        if error.errno not in DISK_FULL:
            return None
        place = f"{error.filename or folder.path} ({error.strerror})"
        return f"cannot write {place}, earlier files are unchanged: make room; {way_on(folder)}"
    if reason.startswith("Early stopping conditioned on metric"):  # one that the user's own callback does not log
        return reason
    if "DataLoader worker" in reason:
        return (
            f"a loader's worker died ({reason}): memory or shared memory may be full; use data.num_workers=0 or a "
            f"smaller data.batch_size; {way_on(folder)}"
        )
    if "gloo" not in reason and not type(error).__name__.startswith("Dist"):  # torch's errors of NCCL and its store
        return None
    found = watch.dead_process(OWN_END)
    if not watch.speaks:
        sys.exit(1)
    return found[0] if found else f"the connection to another process broke ({reason}); {way_on(folder)}"
