"""The lock of a run folder: no two living runs write into one folder."""

import os
import time
from pathlib import Path
from typing import IO

from segment.errors import SegmentError

WAIT = 10
"""Seconds that a run which resumes waits for the one before it to end."""


def lock_folder(path: Path, wait: bool = False) -> IO[str] | None:
    """Lock a file for as long as this process lives and the returned file is open.

    The lock is the process's (``fcntl.lockf``), so that workers which outlive it do not hold it.

    Args:
        path: path of the lock file, in the run folder.
        wait: whether to wait some seconds for another process.

    Returns:
        The open file; None where the file system or the platform has no locks; a note is printed then.

    Raises:
        SegmentError: a living process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        print("note: this platform has no file locks; do not start two runs in one folder")
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    end = time.monotonic() + WAIT * wait
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (BlockingIOError, PermissionError):
            if time.monotonic() < end:
                time.sleep(0.2)
                continue
            file.seek(0)
            holder = file.read(100).strip()
            file.close()
            raise SegmentError(
                f"{path.parent} belongs to a run that is still going{f' (process {holder})' if holder else ''}: "
                "wait for its end, or choose another hydra.run.dir"
            ) from None
        except OSError as error:
            print(f"note: {path.parent} cannot be locked ({error.strerror}); do not start two runs in one folder")
            file.close()
            return None
    file.seek(0)
    if (content := file.read(100).strip()) and not content.isdigit():
        file.close()
        raise SegmentError(f"{path} exists, and no run of this package wrote it: choose another hydra.run.dir")
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
