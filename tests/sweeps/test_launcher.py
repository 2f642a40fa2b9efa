"""Sweeps through the real entry point: which jobs run, where, and what becomes of them."""

import json
import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from segment.cli.config import CONF_DIR, group_options
from segment.records.job_status import JobRecord
from segment.sweeps.folder_names import folder_of_overrides
from segment.sweeps.jobs import sweep_jobs
from segment.sweeps.launcher import print_job_table
from tests.conftest import SMALL
from tests.sweeps.conftest import job_records, running_in, until


@pytest.mark.slow
def test_jobs_that_fail_stop_no_other_and_are_the_only_ones_to_run_again(sweep, tmp_path, capfd):
    for seed, fault in enumerate(["exception", "exit", "kill"], 1):
        (tmp_path / f"fault-{seed}").write_text(fault)
    code, jobs = sweep("seed=0,1,2,3,4,5")
    assert str(code).startswith("error: 3 of 6 jobs failed")
    assert len(jobs) == 6
    out, err = capfd.readouterr()
    assert out.count("0.2500") == 3
    assert "Hydra" not in err
    assert "ValueError: the fault\n" in err  # the output of a job is shown, too
    reasons = [job_records(tmp_path)[f"seed={seed}"].reason for seed in range(6)]
    assert reasons == ["", "ValueError: the fault", "the fault", "SIGKILL", "", ""]
    assert all(f"│ {reason} " in out for reason in reasons)
    assert not running_in(tmp_path)  # the killed job had a process of its own

    for fault in tmp_path.glob("fault-*"):
        fault.unlink()
    code, jobs = sweep("seed=6,5,4,2,0")  # a job is identified by its overrides, not by its number
    assert code == 0
    assert [[override for override in job if override.startswith("seed=")] for job in jobs] == [["seed=6"], ["seed=2"]]
    assert job_records(tmp_path)["seed=2"].reason == ""


def test_values_of_any_kind_arrive_and_make_one_folder_each(sweep, tmp_path, capfd):
    roots = """data.root='a, b/[c]={d}',"it's",'~/ü=x'"""
    code, jobs = sweep("data=voc", roots, "+trainer.x={a:[1,2]}", "model/encoder=vgg16,vgg16")
    assert code == 0
    assert re.search(r"\nnext +python -m segment.report (\S*sweep) --output \1/report\n", capfd.readouterr().out)
    assert len(jobs) == 6
    folders = [path.parent for path in (tmp_path / "sweep").rglob("job.json")]
    assert len(folders) == 6
    assert {folder.parent.name for folder in folders} == {"sweep"}
    assert all(set(folder.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for folder in folders)
    assert {job[-2] for job in jobs} == {"sweep"}
    assert {job[-1] for job in jobs} == {folder.name for folder in folders}


@pytest.mark.slow
def test_damaged_records_are_a_line_each_and_the_sweep_continues(sweep, tmp_path, capfd):
    """A job with a damaged job.json runs again; one with a damaged metrics.json has no score."""
    sweep("seed=0,1,2")
    folders = {path.name[:6]: path for path in (tmp_path / "sweep").iterdir()}
    (folders["seed-0"] / "job.json").write_text("[" * 200_000)
    (folders["seed-1"] / "metrics.json").write_text('{"mIoU": "high"}')
    capfd.readouterr()
    code, jobs = sweep("seed=0,1,2")
    out, err = capfd.readouterr()
    assert (code, len(jobs)) == (0, 1)
    assert out.count("note: cannot read") == 1
    assert out.count("0.2500") == 2
    assert "Traceback" not in err


def test_the_same_overrides_are_the_same_sweep():
    name = folder_of_overrides(["sweep=skip_strides", "data.root=/x", "seed=0,1"])
    assert name == folder_of_overrides(["seed=0,1", "sweep=skip_strides", "data.root=/x"])
    assert name.startswith("seed-0-1_skip_strides_")
    assert name != folder_of_overrides(["sweep=skip_strides", "data.root=/y", "seed=0,1"])


def test_the_table_has_the_first_of_equal_scores_and_a_line_for_a_deleted_record(tmp_path, capsys):
    jobs = sweep_jobs([["seed=0"], ["seed=1"], ["seed=2"]], tmp_path)
    for job in jobs:
        job.folder.path.mkdir()
        job.folder.metrics.write_text('{"mIoU": 0.5, "per_class_IoU": {}}')
        JobRecord(job.overrides, "done").write(job.folder.job_status)
    jobs[2].folder.job_status.unlink()
    print_job_table(jobs, search=True)
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "best           python -m segment.train seed=0"
    assert "job.json was deleted or damaged" in out


def test_a_job_that_is_listed_twice_has_two_folders(tmp_path):
    jobs = sweep_jobs([["seed=0", "x=1"], ["seed=0", "x=1"], ["seed=2", "x=1"]], tmp_path)
    assert [job.swept for job in jobs] == ["seed=0", "seed=0", "seed=2"]
    assert len({job.folder for job in jobs}) == 3
    for job in jobs:
        job.folder.path.mkdir()
    again = sweep_jobs([["seed=2", "x=1"], ["x=1", "seed=0"], ["seed=0", "x=1"]], tmp_path)
    assert [job.folder for job in again] == [jobs[2].folder, jobs[0].folder, jobs[1].folder]


@pytest.mark.slow
def test_a_value_that_is_added_runs_alone(sweep, tmp_path):
    """The folder of the first job shows other overrides than it would among two jobs: it is found by its hash."""
    sweep("data=shapes", "seed=0")
    code, [job] = sweep("data=shapes", "seed=0,1")
    assert code == 0
    assert "seed=1" in job
    assert {path.name[:-9] for path in tmp_path.glob("sweep/*seed*")} == {"data-shapes_seed-0", "seed-1"}


def test_a_sweep_in_each_process_of_a_slurm_step_is_refused(sweep, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    code, jobs = sweep("seed=0")
    assert str(code).startswith("error: a sweep under srun")
    assert not jobs


def test_a_job_gets_the_other_overrides_of_the_command_line(sweep, tmp_path):
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_text("defaults: [shapes]\n")
    given = ["data=mine", "hydra.verbose=true", "hydra/job_logging=disabled"]
    code, [job] = sweep(*given, "hydra.sweep.dir='my sweep'", flags=("--config-dir", "own"))
    assert code == 0
    assert job[job.index("--config-dir") + 1] == str(tmp_path / "own")
    assert {*given, "resume=auto", "hydra.mode=RUN", f"hydra.run.dir='my sweep/{job[-1]}'"} <= set(job)
    assert not [override for override in job if "launcher" in override or "sweep.dir" in override]


@pytest.mark.parametrize(
    ("name", "swept"),
    [
        ("skip_strides", ["model=fcn32s", "model=fcn16s", "model=fcn8s"]),
        pytest.param(
            "encoders",
            [f"model/encoder={name}" for name in ("vgg16", "resnet50", "mobilenet_v2", "resnet18")],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "upsampling",
            [f"model.decoder.upsampling={n}" for n in ("nearest", "bilinear", "transposed", "unpooling")],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_sweep_file_starts_a_sweep_and_the_command_line_replaces_its_values(sweep, name, swept):
    assert f"\n# command   python -m segment.train sweep={name}" in Path(CONF_DIR, "sweep", f"{name}.yaml").read_text()
    fixed = "model/encoder=mobilenet_v2" if name == "skip_strides" else "model=unet"
    code, jobs = sweep(f"sweep={name}", "seed=7", fixed)
    assert code == 0
    assert [[override for override in job if override in swept] for job in jobs] == [[override] for override in swept]
    assert all({"seed=7", fixed, f"sweep={name}"} <= set(job) for job in jobs)


def test_every_sweep_file_is_tested():
    assert group_options("sweep") == ["encoders", "lecture", "search", "skip_strides", "upsampling"]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_a_sweep_that_is_stopped_lets_its_job_save(background, tmp_path, number):
    (tmp_path / "fault-1").write_text("sleep")
    process = background("seed=0,1,2")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/sleeps")))
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == 128 + number
    assert list(tmp_path.glob("sweep/seed-1*/saved"))
    assert {overrides: record.state for overrides, record in job_records(tmp_path).items()} == {
        "seed=0": "done",
        "seed=1": "failed",
    }
    assert not running_in(tmp_path)


@pytest.mark.slow
def test_a_sweep_that_is_killed_continues_when_its_job_has_saved(background, sweep, tmp_path):
    (tmp_path / "fault-1").write_text("linger")
    process = background("seed=0,1,2")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/sleeps")))
    process.kill()
    until(lambda: list(tmp_path.glob("sweep/seed-1*/saved")))
    assert job_records(tmp_path)["seed=1"].state == "running"
    (tmp_path / "fault-1").unlink()
    code, jobs = sweep("seed=0,1,2")
    assert code == 0
    assert [job[2] for job in jobs] == ["seed=2", "seed=1"]  # the job that lingers is waited for


@pytest.mark.slow
def test_two_sweeps_at_once_run_each_job_once(background, sweep, tmp_path):
    (tmp_path / "fault-0").write_text("sleep")
    first = background("seed=0,1")
    until(lambda: list(tmp_path.glob("sweep/seed-0*/sleeps")))
    second = background("seed=0,1")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/metrics.json")))  # it runs the other job meanwhile
    [sleeper] = [p for p in running_in(tmp_path) if {"job", "seed=0"} <= set(p.info["cmdline"] or ())]
    sleeper.kill()
    texts = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [1, 1]
    assert "seed=1: done" in texts[0]
    assert "seed=0: failed in another process" in texts[1]
    assert len((tmp_path / "started.txt").read_text().splitlines()) == 2


TINY = (*SMALL, "data.train_size=8", "data.val_size=3", "data.crop_size=[64,64]", "trainer.max_epochs=1")


@pytest.mark.slow
def test_ddp_in_a_sweep_with_changing_device_counts(run, tmp_path):
    run("train", "-m", *TINY, "trainer=ddp_cpu", "trainer.devices=2,1", "hydra.sweep.dir=sweep")
    folders = [path.parent for path in tmp_path.glob("sweep/*/metrics.json")]
    assert sorted(folder.name.split("_")[0] for folder in folders) == ["devices-1", "devices-2"]
    assert not running_in(tmp_path)


@pytest.mark.slow
def test_real_runs_with_one_that_fails_and_one_wandb_group(run, tmp_path):
    overrides = [*TINY, "logger=wandb", "model.decoder.skip_strides=[],[3]", "trainer.accelerator=cpu"]
    done = run("train", "-m", *overrides, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 2 jobs failed")
    [sweep] = (tmp_path / "runs").iterdir()
    found = {path.parent.name.split("_")[1]: JobRecord.read(path) for path in sweep.glob("*/job.json")}
    assert {name: status.state for name, status in found.items() if status} == {
        "strides": "done",
        "strides-3": "failed",
    }
    assert "no feature at stride 3; this encoder has" in found["strides-3"].error
    for folder in (path.parent for path in sweep.glob("*/metrics.json")):
        [written] = folder.glob("wandb/offline-run-*/*.wandb")
        assert protobuf_field(6, sweep.name) in written.read_bytes()
        assert protobuf_field(8, folder.name) in written.read_bytes()


def protobuf_field(number: int, text: str) -> bytes:
    """Encode a text as protobuf does; in wandb's RunRecord, 6 is the group and 8 the name."""
    return bytes([number << 3 | 2, len(text)]) + text.encode()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("joblib") is None, reason="needs hydra-joblib-launcher")
def test_joblib_runs_two_jobs_and_none_of_them_again(run, tmp_path):
    overrides = ["hydra/launcher=joblib", "hydra.sweep.dir=sweep", "trainer.accelerator=cpu", "seed=0,1"]
    run("train", "-m", *TINY, *overrides)
    assert {record.state for record in job_records(tmp_path).values()} == {"done"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("*/*.json")}
    assert sum(path.name == "metrics.json" for path in before) == 2
    run("train", "-m", *TINY, *overrides)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("*/*.json")} == before
    assert not running_in(tmp_path)


SBATCH = """#!/bin/bash
cp "$1" script.sh
echo "Submitted batch job 77"
SLURM_JOB_ID=77 bash "$1" > job.log 2>&1 &
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == --unbuffered ]] || shift; shift; done
export SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_NNODES=1 SLURM_NODEID=0
export SLURM_JOB_NODELIST=localhost
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" &
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" &
wait
"""
SACCT = """#!/bin/bash
echo 'JobID|State|NodeList'; echo '77|RUNNING|localhost'
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("submitit") is None, reason="needs the extra slurm (hydra-submitit-launcher)")
def test_a_job_on_slurm_has_the_trainers_devices_and_runs_in_the_processes_of_its_step(run, tmp_path, monkeypatch):
    """A faked sbatch runs the script that it gets; a faked srun starts two processes, which train together."""
    (tmp_path / "bin").mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "srun": SRUN,
        "sacct": SACCT,
        "scontrol": "#!/bin/bash\necho localhost\n",
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    overrides = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.sweep.dir=sweep"]
    overrides += ["trainer=slurm", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.sync_batchnorm=false"]
    run("train", "-m", *TINY, *overrides, "seed=5")
    lines = (tmp_path / "script.sh").read_text().splitlines()
    options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert {"nodes=1", "ntasks-per-node=2", "gpus-per-node=2", "partition=gpu", "signal=USR2@120"} <= options
    [[name, record]] = job_records(tmp_path).items()
    assert record.state == "done"
    assert "seed=5" in name
    [written] = tmp_path.glob("sweep/*seed-5*/metrics.json")
    assert json.loads(written.read_text())["images"] == 3
    assert not running_in(tmp_path)
