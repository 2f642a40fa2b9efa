"""Several jobs at once, on a machine whose GPUs are faked by CUDA_VISIBLE_DEVICES."""

import json
import signal
import tempfile
from pathlib import Path

import pytest

from segment.data.workers import cores
from segment.sweeps import queue
from segment.sweeps.devices import Limits
from segment.sweeps.queue import thread_count
from tests.sweeps.conftest import job_records, running_in, until

AT_ONCE = ("hydra.launcher.jobs=4",)


@pytest.fixture(autouse=True)
def two_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,GPU-b")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "devices").mkdir()


def environments(tmp_path: Path) -> list[dict[str, str]]:
    """Return the variables that each job saw, from its log."""
    return [json.loads(path.read_text().splitlines()[-1]) for path in tmp_path.glob("sweep/*/job.log")]


@pytest.mark.slow
def test_four_jobs_on_two_devices(sweep, tmp_path, capfd):
    code, jobs = sweep("seed=0,1,2,3", *AT_ONCE)
    assert (code, len(jobs)) == (0, 4)
    out = capfd.readouterr().out
    assert {line for line in out.splitlines() if line.startswith("job ")} == {
        f"job {seed + 1}/4  seed={seed}: done" for seed in range(4)
    }
    found = environments(tmp_path)
    assert sorted(one["CUDA_VISIBLE_DEVICES"] for one in found) == ["7", "7", "GPU-b", "GPU-b"]
    assert {one["OMP_NUM_THREADS"] for one in found} == {str(max(1, cores() // 2))}
    assert len({one["MASTER_PORT"] for one in found}) == 4
    assert not [*(tmp_path / "devices").iterdir()]
    assert sweep("seed=0,1,2,3", *AT_ONCE) == (0, [])


@pytest.mark.slow
def test_a_job_of_two_devices_and_jobs_that_share_one(sweep, tmp_path):
    code, _ = sweep("trainer.devices=1,2", "seed=0,1", "hydra.launcher.jobs=auto")
    assert code == 0
    assert sorted(one["CUDA_VISIBLE_DEVICES"] for one in environments(tmp_path))[:2] == ["7", "7,GPU-b"]
    (tmp_path / "devices").rmdir()
    code, _ = sweep("seed=3,4,5", "hydra.launcher.jobs=auto", "hydra.launcher.jobs_per_device=2")
    assert code == 0


@pytest.mark.slow
def test_jobs_on_the_cpu_take_no_device(sweep, tmp_path):
    (tmp_path / "devices").rmdir()
    code, jobs = sweep("trainer.accelerator=cpu", "seed=0,1,2", "hydra.launcher.jobs=3")
    assert (code, len(jobs)) == (0, 3)
    assert not list(tmp_path.glob("segment-devices-*/*"))


@pytest.mark.slow
def test_jobs_that_fail_stop_no_other(sweep, tmp_path, capfd):
    (tmp_path / "fault-1").write_text("exit")
    (tmp_path / "devices").rmdir()
    code, jobs = sweep("seed=0,1,2,3", *AT_ONCE)
    assert len(jobs) == 4
    assert str(code).startswith("error: 1 of 4 jobs failed")
    assert "job 2/4  seed=1: failed: the fault\n" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_jobs_save_when_the_sweep_is_stopped(background, tmp_path, number):
    for seed in (0, 1):
        (tmp_path / f"fault-{seed}").write_text("sleep")
    process = background("seed=0,1,2,3", *AT_ONCE)
    until(lambda: len(list(tmp_path.glob("sweep/*/sleeps"))) == 2)
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == 128 + number
    assert len(list(tmp_path.glob("sweep/*/saved"))) == 2
    assert {record.reason for record in job_records(tmp_path).values()} == {"SIGTERM: stopped with its sweep"}
    assert not running_in(tmp_path)


@pytest.mark.slow
def test_a_sweep_that_is_killed_continues_and_no_device_is_used_twice(background, sweep, tmp_path):
    """The job that lingers holds its device until it has saved."""
    (tmp_path / "fault-1").write_text("linger")
    process = background("seed=0,1,2,3", *AT_ONCE)
    until(lambda: list(tmp_path.glob("sweep/seed-1*/sleeps")) and list(tmp_path.glob("sweep/seed-0*/metrics.json")))
    process.kill()
    (tmp_path / "fault-1").unlink()
    code, _ = sweep("seed=0,1,2,3", *AT_ONCE)
    assert code == 0
    assert {record.state for record in job_records(tmp_path).values()} == {"done"}


@pytest.mark.slow
def test_two_terminals_share_the_jobs_and_the_devices(background, tmp_path):
    sweeps = [background("seed=0,1,2,3,4", *AT_ONCE) for _ in range(2)]
    for process in sweeps:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len((tmp_path / "started.txt").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("limits", "trainer", "gpus", "threads"),
    [
        (Limits(2), {"accelerator": "cpu", "devices": 1}, 0, 4),
        (Limits(2), {"accelerator": "cpu", "devices": 2}, 0, 2),
        (Limits(4, ["0", "1"]), {"accelerator": "gpu", "devices": 1}, 1, 4),
        (Limits(4, ["0", "1"]), {"accelerator": "gpu", "devices": 2}, 2, 4),
        (Limits(4, ["0", "1"]), {"accelerator": "gpu", "devices": "auto"}, 2, 4),
        (Limits(4, ["0", "1"]), {"accelerator": "gpu", "devices": [1]}, 2, 8),
        (Limits(9), {"accelerator": "cpu", "devices": "auto"}, 0, 1),
    ],
)
def test_the_processes_of_all_jobs_share_the_cores(monkeypatch, limits, trainer, gpus, threads):
    monkeypatch.setattr(queue, "cores", lambda: 8)
    assert thread_count(limits, trainer, gpus) == threads


@pytest.mark.slow
def test_a_number_of_jobs_that_cannot_be_is_one_line(sweep):
    message = "error: hydra.launcher.jobs=many: expected a whole number from 1 or auto"
    assert sweep("seed=0,1", "hydra.launcher.jobs=many") == (message, [])
