"""Which GPUs there are, how many a job takes, and who holds them."""

import os
import stat
import tempfile

import pytest

from segment.errors import SegmentError
from segment.sweeps.devices import devices_needed, hold_devices, visible_devices


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("", []),
        ("-1", []),
        ("3,1", ["3", "1"]),
        (" 2 , GPU-8932f937-d72c , MIG-GPU-8932/1/0 ", ["2", "GPU-8932f937-d72c", "MIG-GPU-8932/1/0"]),
        ("0,-1,1", ["0"]),
        ("1,1", ["1"]),
        ("\uff11", []),
    ],
)
def test_devices_come_out_of_the_environment(monkeypatch, given, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_devices() == names


@pytest.mark.parametrize(
    ("trainer", "number"),
    [
        ({"accelerator": "auto", "devices": 1}, 1),
        ({"accelerator": "gpu", "devices": 2}, 2),
        ({"accelerator": "cuda", "devices": 8}, 4),
        ({"accelerator": "gpu", "devices": "auto"}, 4),
        ({"accelerator": "gpu", "devices": -1}, 4),
        ({"accelerator": "gpu", "devices": [1]}, 4),  # the second of all
        ({"accelerator": "cpu", "devices": 2}, 0),
        ({"accelerator": "mps", "devices": 1}, 0),
    ],
)
def test_a_job_takes_as_many_devices_as_its_trainer(trainer, number):
    assert devices_needed(trainer, 4) == number


def test_devices_are_held_once():
    names = ["0", "MIG-GPU-8932/1/0"]
    with hold_devices(names, 1, 1) as first, hold_devices(names, 1, 1) as second:
        assert (first[0], second[0]) == (["0"], ["MIG-GPU-8932/1/0"])
        with hold_devices(names, 1, 1) as third:
            assert third is None
        with hold_devices(names, 2, 2) as shared:
            assert shared[0] == names
    with hold_devices(names, 1, 1), hold_devices(names, 2, 1) as both:
        assert both is None
        with hold_devices(names, 1, 1) as one:  # a job that waits for two devices holds none
            assert one[0] == ["MIG-GPU-8932/1/0"]


def test_the_locks_of_another_user_are_refused(tmp_path):
    with hold_devices(["0"], 1, 1):
        [folder] = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for lock in folder.iterdir():
        lock.unlink()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(SegmentError, match=f"segment-devices-{os.getuid()} belongs to another user"):
        hold_devices(["0"], 1, 1).__enter__()
