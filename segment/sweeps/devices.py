"""The GPUs that jobs of sweeps run on, each held by a lock that all sweeps of a user on this machine share."""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from segment.errors import SegmentError

DEVICE = r"[0-9]+|(GPU|MIG)-\S+"
"""Pattern of a device in ``CUDA_VISIBLE_DEVICES``: an index, or the UUID of a GPU or of a part of one."""


@dataclass
class Limits:
    """The number of jobs that run at once, and the devices that are divided among them.

    Attributes:
        jobs: number of jobs.
        devices: names of the devices; empty to let each job see all of them.
        per_device: number of jobs that may share a device.

    Example:
        >>> Limits(4, ["0", "1"]).at_once(1), Limits(4, ["0", "1"]).at_once(2), Limits(4, ["0", "1"]).at_once(0)
        (2, 1, 4)
    """

    jobs: int = 1
    devices: list[str] = field(default_factory=list)
    per_device: int = 1

    @property
    def one_by_one(self) -> bool:
        """True if a job runs as it would alone, with its output on the screen."""
        return self.jobs == 1 and not self.devices

    def at_once(self, devices: int) -> int:
        """Return the number of jobs that run at once.

        Args:
            devices: number of devices that each job takes.
        """
        return min(self.jobs, len(self.devices) * self.per_device // devices) if devices else self.jobs


def visible_devices() -> list[str]:
    """Return the names of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` lists them.

    CUDA ignores what follows an entry that is no device, such as ``-1``.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        import torch  # it takes seconds

        return [str(index) for index in range(torch.cuda.device_count())]
    names = [name.strip() for name in given.split(",")]
    return list(dict.fromkeys(takewhile(lambda name: re.fullmatch(DEVICE, name), names)))


def devices_needed(trainer: Mapping[str, Any], available: int) -> int:
    """Return the number of GPUs that a job takes: all, unless ``trainer.devices`` is a number.

    Args:
        trainer: the job's configuration of the Trainer.
        available: number of GPUs.
    """
    if trainer.get("accelerator") not in {"auto", "gpu", "cuda"}:
        return 0
    number = trainer.get("devices")
    return min(number, available) if isinstance(number, int) and number > 0 else available


def processes_of(trainer: Mapping[str, Any], gpus: int) -> int:
    """Return the number of processes of a job: one for each of its devices.

    Args:
        trainer: the job's configuration of the Trainer.
        gpus: number of GPUs that the job takes.
    """
    devices = trainer.get("devices")
    if isinstance(devices, int) and devices > 0:
        return devices
    return len(devices) if isinstance(devices, list) else max(1, gpus)


@contextmanager
def hold_devices(names: Sequence[str], number: int, per_device: int) -> Iterator[tuple[list[str], list[int]] | None]:
    """Hold the locks of devices that are free.

    A job inherits the locks of its devices, so that they are held until it has ended, also if its sweep is killed.

    Args:
        names: the devices.
        number: number of devices to hold.
        per_device: number of jobs that may share a device.

    Yields:
        The names of the devices and the file descriptors of their locks; None if too few devices are free.

    Raises:
        SegmentError: the folder of the locks belongs to another user.
    """
    found: dict[str, int] = {}
    with ExitStack() as files:
        for slot in range(per_device):
            for name in names:
                if len(found) < number and name not in found:
                    file = files.enter_context(_lock_file(name, slot).open("a"))
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        found[name] = file.fileno()
                    except BlockingIOError:
                        file.close()
        if len(found) < number:
            files.close()
        yield ([*found], [*found.values()]) if len(found) == number else None


def _lock_file(name: str, slot: int) -> Path:
    folder = Path(tempfile.gettempdir(), f"segment-devices-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SegmentError(f"{folder} belongs to another user, expected a folder of yours: set TMPDIR to one")
    return folder / f"{re.sub(r'[^-.0-9A-Za-z]', '_', name)}.{slot}"
