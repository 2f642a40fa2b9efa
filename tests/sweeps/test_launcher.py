"""Sweeps through the real entry point. Most have jobs that take no time: a small program in place of training."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from segment.cli.config import CONF_DIR, group_options
from segment.sweeps.launcher import name_of_words
from segment.sweeps.process import Status, what_went_wrong
from tests.conftest import SMALL

JOB = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
words = dict(word.partition("=")[::2] for word in sys.argv if "=" in word)
folder = Path(words["hydra.run.dir"].strip("'"))
with open("started.txt", "a") as file:
    print(json.dumps([*sys.argv[1:], os.environ["WANDB_RUN_GROUP"], os.environ["WANDB_NAME"]]), file=file)
match Path(f"fault-{words.get('seed')}").read_text() if Path(f"fault-{words.get('seed')}").exists() else None:
    case "exception":
        raise ValueError("the fault")
    case "exit":
        sys.exit("error: the fault")
    case "kill":
        subprocess.Popen(["sleep", "1000"])
        os.kill(os.getpid(), signal.SIGKILL)
    case ("sleep" | "linger") as how:
        def save(*_):
            (folder / "saved").touch()
            while how == "linger" and not list(folder.parent.glob("seed-2*/metrics.json")):
                time.sleep(0.05)
            sys.exit(143)
        subprocess.Popen(["sleep", "1000"])
        signal.signal(signal.SIGTERM, save)
        (folder / "sleeps").touch()
        time.sleep(1000)
(folder / "metrics.json").write_text('{"mIoU": 0.25}')
"""


@pytest.fixture
def sweep(main, tmp_path):
    """Run a sweep in the folder ``sweep``; gives its exit code and the words of each job that it started."""
    (tmp_path / "job.py").write_text(JOB)
    started = tmp_path / "started.txt"

    def start(*words: str, flags: tuple[str, ...] = ()) -> tuple[object, list[list[str]]]:
        started.write_text("")
        code: object = 0
        try:
            main("train", "-m", *flags, "hydra.launcher.module=job", "hydra.sweep.dir=sweep", *words)
        except SystemExit as end:
            code = end.code
        return code, [json.loads(line) for line in started.read_text().splitlines()]

    return start


@pytest.fixture
def tidy(tmp_path):
    """Nothing that the test started is left after it."""
    yield
    for process in running_in(tmp_path):
        process.kill()


@pytest.fixture
def background(tmp_path, tidy):
    """Start a sweep that goes on while the test looks."""
    (tmp_path / "job.py").write_text(JOB)
    sweeps = []

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "segment.train", "-m", "hydra.launcher.module=job", "hydra.sweep.dir=sweep"]
        sweeps.append(subprocess.Popen([*command, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        return sweeps[-1]

    yield start
    for process in sweeps:
        process.kill()
        process.wait()


def running_in(folder: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(folder) and p.pid != os.getpid()]


def until(condition, seconds: float = 20):
    for _ in range(int(seconds * 20)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def statuses(tmp_path: Path) -> dict[str, Status]:
    found = [Status.read(path.parent) for path in (tmp_path / "sweep").glob("*/job.json")]
    return {" ".join(status.overrides): status for status in found if status}


def test_jobs_that_fail_stop_no_other_and_are_the_only_ones_to_run_again(sweep, tmp_path, capfd):
    for seed, fault in enumerate(["exception", "exit", "kill"], 1):
        (tmp_path / f"fault-{seed}").write_text(fault)
    code, jobs = sweep("seed=0,1,2,3,4,5")
    assert str(code).startswith("error: 3 of 6 jobs failed")
    assert len(jobs) == 6
    out, err = capfd.readouterr()
    assert out.count("0.2500") == 3
    assert "Hydra" not in err
    assert "ValueError: the fault\n" in err  # what a job says is seen, too
    reasons = [statuses(tmp_path)[f"seed={seed}"].reason for seed in range(6)]
    assert reasons == ["", "ValueError: the fault", "the fault", "SIGKILL", "", ""]
    assert all(f"│ {reason} " in out for reason in reasons)
    assert not running_in(tmp_path)  # the killed job had a process of its own

    for fault in tmp_path.glob("fault-*"):
        fault.unlink()
    code, jobs = sweep("seed=6,5,4,2,0")  # a job is known by its overrides, not by its number
    assert code == 0
    assert [[word for word in job if word.startswith("seed=")] for job in jobs] == [["seed=6"], ["seed=2"]]
    assert statuses(tmp_path)["seed=2"].reason == ""


def test_values_of_any_kind_arrive_and_make_one_folder_each(sweep, tmp_path):
    roots = """data.root='a, b/[c]={d}',"it's",'~/ü=x'"""
    code, jobs = sweep("data=voc", roots, "+trainer.x={a:[1,2]}", "model/encoder=vgg16,vgg16")
    assert code == 0
    assert len(jobs) == 6
    folders = [path.parent for path in (tmp_path / "sweep").rglob("job.json")]
    assert len(folders) == 6
    assert {folder.parent.name for folder in folders} == {"sweep"}
    assert all(set(folder.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for folder in folders)
    assert {job[-2] for job in jobs} == {"sweep"}
    assert {job[-1] for job in jobs} == {folder.name for folder in folders}


def test_the_same_words_are_the_same_sweep():
    name = name_of_words(["sweep=skip_strides", "data.root=/x", "seed=0,1"])
    assert name == name_of_words(["seed=0,1", "sweep=skip_strides", "data.root=/x"])
    assert name.startswith("seed-0-1_skip_strides_")
    assert name != name_of_words(["sweep=skip_strides", "data.root=/y", "seed=0,1"])


def test_a_value_that_is_added_runs_alone(sweep, tmp_path):
    """The first job's folder shows other words than it would among two: it is found by what it is."""
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


def test_a_job_gets_the_command_lines_other_words_too(sweep, tmp_path):
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_text("defaults: [shapes]\n")
    given = ["data=mine", "hydra.verbose=true", "hydra/job_logging=disabled"]
    code, [job] = sweep(*given, "hydra.sweep.dir='my sweep'", flags=("--config-dir", "own"))
    assert code == 0
    assert job[job.index("--config-dir") + 1] == str(tmp_path / "own")
    assert {*given, "resume=auto", "hydra.mode=RUN", f"hydra.run.dir='my sweep/{job[-1]}'"} <= set(job)
    assert not [word for word in job if "launcher" in word or "sweep.dir" in word]


@pytest.mark.parametrize(
    ("name", "swept"),
    [
        ("skip_strides", ["model=fcn32s", "model=fcn16s", "model=fcn8s"]),
        ("encoders", [f"model/encoder={name}" for name in ("vgg16", "resnet50", "mobilenet_v2", "resnet18")]),
    ],
)
def test_a_sweep_file_starts_a_sweep_and_the_command_line_has_the_last_word(sweep, name, swept):
    assert f"\n# command   python -m segment.train sweep={name} " in Path(CONF_DIR, "sweep", f"{name}.yaml").read_text()
    fixed = "model/encoder=mobilenet_v2" if name == "skip_strides" else "model=unet"
    code, jobs = sweep(f"sweep={name}", "seed=7", fixed)
    assert code == 0
    assert [[word for word in job if word in swept] for job in jobs] == [[word] for word in swept]
    assert all({"seed=7", fixed, f"sweep={name}"} <= set(job) for job in jobs)


def test_every_sweep_file_is_tested():
    assert group_options("sweep") == ["encoders", "skip_strides"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_is_told_to_stop_lets_its_job_save(background, tmp_path, number):
    (tmp_path / "fault-1").write_text("sleep")
    process = background("seed=0,1,2")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/sleeps")))
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == 128 + number
    assert list(tmp_path.glob("sweep/seed-1*/saved"))
    assert {words: status.state for words, status in statuses(tmp_path).items()} == {
        "seed=0": "done",
        "seed=1": "failed",
    }
    assert not running_in(tmp_path)


def test_a_sweep_that_is_killed_goes_on_when_its_job_has_saved(background, sweep, tmp_path):
    (tmp_path / "fault-1").write_text("linger")
    process = background("seed=0,1,2")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/sleeps")))
    process.kill()
    until(lambda: list(tmp_path.glob("sweep/seed-1*/saved")))
    assert statuses(tmp_path)["seed=1"].state == "running"
    (tmp_path / "fault-1").unlink()
    code, jobs = sweep("seed=0,1,2")
    assert code == 0
    assert [job[2] for job in jobs] == ["seed=2", "seed=1"]  # the job that lingers is waited for


STUBBORN = """
import os, signal, subprocess, sys, time
import segment.sweeps.process
segment.sweeps.process.GRACE = 1
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job does not have
job = "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.run(['sleep', '1000'])"
segment.sweeps.process.run([sys.executable, "-c", job], os.environ)
"""


@pytest.mark.usefixtures("tidy")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_job_that_does_not_stop_is_made_to(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], cwd=tmp_path, stderr=subprocess.DEVNULL)
    until(lambda: [p for p in running_in(tmp_path) if p.name() == "sleep"])
    process.send_signal(number)
    process.wait(60)
    until(lambda: not running_in(tmp_path))


def test_two_sweeps_at_once_run_each_job_once(background, sweep, tmp_path):
    (tmp_path / "fault-0").write_text("sleep")
    first = background("seed=0,1")
    until(lambda: list(tmp_path.glob("sweep/seed-0*/sleeps")))
    second = background("seed=0,1")
    until(lambda: list(tmp_path.glob("sweep/seed-1*/metrics.json")))  # it does meanwhile what is free
    [sleeper] = [p for p in running_in(tmp_path) if {"job", "seed=0"} <= set(p.cmdline())]
    sleeper.kill()
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [1, 1]
    assert "seed=1: done" in said[0]
    assert "seed=0: failed in another process" in said[1]
    assert len((tmp_path / "started.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("warning: x\nerror: the fault\n", "the fault"),
        ("Traceback (most recent call last):\n  f()\nsome.OddError: the fault\n\n"
         "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n", "some.OddError: the fault"),
        ("10%\r20%\rerror: the fault\nwandb: see wandb.ai\n  warnings.warn(\n", "the fault"),
        ("[rank0]:   f()\n[rank0]: ValueError: the fault\n[rank0]:[W1123] x\n", "ValueError: the fault"),
        ("Key 'x' is not in struct\n    full_key: x\n    object_type=dict\n", "Key 'x' is not in struct"),
    ],
)  # fmt: skip
def test_the_line_that_names_the_fault(text, line):
    assert what_went_wrong(text) == line


TINY = (*SMALL, "data.train_size=8", "data.val_size=3", "data.crop_size=[64,64]", "trainer.max_epochs=1")


@pytest.mark.slow
def test_ddp_in_a_sweep_with_changing_device_counts(run, tmp_path):
    run("train", "-m", *TINY, "trainer=ddp_cpu", "trainer.devices=2,1,2", "hydra.sweep.dir=sweep")
    folders = [path.parent for path in tmp_path.glob("sweep/*/metrics.json")]
    assert len(folders) == 3
    trained = [folder.name.split("_")[0] for folder in folders]
    assert sorted(trained) == ["devices-1", "devices-2", "devices-2"]
    assert not running_in(tmp_path)


@pytest.mark.slow
def test_real_runs_with_one_that_fails_and_one_wandb_group(run, tmp_path):
    words = [*TINY, "logger=wandb", "model.decoder.skip_strides=[],[3]", "trainer.accelerator=cpu"]
    done = run("train", "-m", *words, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 2 jobs failed")
    [sweep] = (tmp_path / "runs").iterdir()
    found = {path.parent.name.split("_")[1]: Status.read(path.parent) for path in sweep.glob("*/job.json")}
    assert {name: status.state for name, status in found.items() if status} == {
        "strides": "done",
        "strides-3": "failed",
    }
    assert "no feature at stride 3; this encoder has" in found["strides-3"].error
    for folder in (path.parent for path in sweep.glob("*/metrics.json")):
        [written] = folder.glob("wandb/offline-run-*/*.wandb")
        assert field(6, sweep.name) in written.read_bytes()
        assert field(8, folder.name) in written.read_bytes()


def field(number: int, text: str) -> bytes:
    """A text as protobuf writes it; in wandb's RunRecord, 6 is the group and 8 the name."""
    return bytes([number << 3 | 2, len(text)]) + text.encode()


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
def test_a_job_on_slurm_asks_for_what_the_trainer_has_and_runs_in_the_steps_processes(run, tmp_path, monkeypatch):
    """The script that a faked sbatch is given; faked srun starts its two processes, which train together."""
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
    words = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.sweep.dir=sweep"]
    words += ["trainer=slurm", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.sync_batchnorm=false"]
    run("train", "-m", *TINY, *words, "seed=5")
    lines = (tmp_path / "script.sh").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert {"nodes=1", "ntasks-per-node=2", "gpus-per-node=2", "partition=gpu", "signal=USR2@120"} <= asked
    [[name, status]] = statuses(tmp_path).items()
    assert status.state == "done"
    assert "seed=5" in name
    [written] = tmp_path.glob("sweep/*seed-5*/metrics.json")
    assert json.loads(written.read_text())["images"] == 3
    assert not running_in(tmp_path)
