"""Sweeps of jobs that take no time: a small program in place of training."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from segment.records.job_status import JobRecord

JOB = """
import json, math, os, signal, subprocess, sys, time
from pathlib import Path
given = dict(argument.partition("=")[::2] for argument in sys.argv if "=" in argument)
folder = Path(given["hydra.run.dir"].strip("'"))
with open("started.txt", "a") as file:
    print(json.dumps([*sys.argv[1:], os.environ["WANDB_RUN_GROUP"], os.environ["WANDB_NAME"]]), file=file)
names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
if Path("devices").is_dir():
    for name in names:
        Path("devices", name).touch(exist_ok=False)
    time.sleep(0.3)
    variables = {key: os.environ[key] for key in ("CUDA_VISIBLE_DEVICES", "MASTER_PORT", "OMP_NUM_THREADS")}
    print(json.dumps(variables), flush=True)
match Path(f"fault-{given.get('seed')}").read_text() if Path(f"fault-{given.get('seed')}").exists() else None:
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
            for name in names if Path("devices").is_dir() else ():
                Path("devices", name).unlink()
            sys.exit(143)
        subprocess.Popen(["sleep", "1000"])
        signal.signal(signal.SIGTERM, save)
        (folder / "sleeps").touch()
        time.sleep(1000)
for name in names if Path("devices").is_dir() else ():
    Path("devices", name).unlink()
score = 0.25
if "optimizer.lr" in given:  # best at 0.01 and cross-entropy
    score = 1 - min(1, abs(math.log10(float(given["optimizer.lr"])) + 2)) / 2 - 0.2 * (given["loss"] != "cross_entropy")
    if Path("every-third").exists() and int(1e9 * score) % 3 == 0:
        raise ValueError("one of three")
(folder / "metrics.json").write_text(json.dumps({"mIoU": score, "per_class_IoU": {}}))
"""
"""A program that behaves as ``fault-SEED`` says: it fails, is killed, or sleeps until it is stopped.

It marks its devices in the folder ``devices``, if there is one, and fails if another job has marked one.
"""


def multirun(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flag that a sweep needs on the command line: none, if it comes from a file of the group sweep."""
    return () if any(override.startswith("sweep=") for override in overrides) else ("-m",)


@pytest.fixture
def sweep(main, tmp_path: Path) -> Callable[..., tuple[object, list[list[str]]]]:
    """Run a sweep in the folder ``sweep``; gives its exit code and the command line of each job that it started."""
    (tmp_path / "job.py").write_text(JOB)
    started = tmp_path / "started.txt"

    def start(*overrides: str, flags: tuple[str, ...] = ()) -> tuple[object, list[list[str]]]:
        started.write_text("")
        code: object = 0
        try:
            main(
                "train", *multirun(overrides), *flags, "hydra.launcher.module=job", "hydra.sweep.dir=sweep", *overrides
            )
        except SystemExit as end:
            code = end.code
        return code, [json.loads(line) for line in started.read_text().splitlines()]

    return start


@pytest.fixture
def tidy(tmp_path: Path) -> Iterator[None]:
    """End all processes of the test after it."""
    yield
    for process in running_in(tmp_path):
        process.kill()


@pytest.fixture
def background(tmp_path: Path, tidy: None) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a sweep that runs beside the test."""
    (tmp_path / "job.py").write_text(JOB)
    sweeps: list[subprocess.Popen] = []

    def start(*overrides: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "segment.train",
            *multirun(overrides),
            "hydra.launcher.module=job",
            "hydra.sweep.dir=sweep",
        ]
        sweeps.append(subprocess.Popen([*command, *overrides], cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        return sweeps[-1]

    yield start
    for process in sweeps:
        process.kill()
        process.wait()


def running_in(folder: Path) -> list[psutil.Process]:
    """Return the other processes whose working directory is a folder; ``info["cmdline"]`` of one that ends is None."""
    return [p for p in psutil.process_iter(["cwd", "cmdline"]) if p.info["cwd"] == str(folder) and p.pid != os.getpid()]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    for _ in range(int(seconds * 20)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition never held")


def job_records(tmp_path: Path) -> dict[str, JobRecord]:
    """Return the record of each job of the folder ``sweep``, by its overrides."""
    found = [JobRecord.read(path) for path in (tmp_path / "sweep").glob("*/job.json")]
    return {" ".join(record.overrides): record for record in found if record}
