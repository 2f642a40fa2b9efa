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
from segment.files import shown
from segment.records.folder import RunFolder
from segment.records.run_lock import lock_folder
from segment.training.lightning_internals import end_other_processes

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
        SegmentError: the disk is full, or something called ``sys.exit`` before the run was complete.
        SystemExit: the run was stopped by a signal; the code is 143, or 130 for Ctrl-C.
    """
    run, failed = ActiveRun(), 1
    try:
        yield run
        failed = 0
    except SIGTERMException as stop:
        # A code other than 0 from DDP's other processes looks like a crash to Lightning, which then kills this one.
        sys.exit((stop.code or 128 + signal.SIGTERM) if run.trainer.is_global_zero else 0)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C outside of training
            print(f"interrupted; resume={shown(folder.path)} continues", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        if end.code:
            raise
        raise SegmentError("something ended this run with sys.exit before it was complete: it has no metrics") from end
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = " ".join(str(error).split())
        raise SegmentError(
            f"a loader's worker died ({reason[:150]}): memory or shared memory may be full; use data.num_workers=0 or "
            f"a smaller data.batch_size, and continue with resume={shown(folder.path)}"
        ) from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise SegmentError(
            f"cannot write {error.filename or folder.path} ({error.strerror}); earlier files are unchanged: "
            f"make room, and continue with resume={shown(folder.path)}"
        ) from None
    finally:
        if failed and run.trainer is not None:
            end_other_processes(run.trainer)
        for logger in run.loggers:
            # Otherwise the next run of this process would continue wandb's run.
            if hasattr(logger.experiment, "finish"):
                logger.experiment.finish(exit_code=failed)
