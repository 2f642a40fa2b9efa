"""Short trainings that are interrupted, and the comparison of their outcomes."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segment.records.checkpoint import load_checkpoint
from segment.records.folder import RunFolder
from segment.training.last_checkpoint import _moved
from segment.training.module import SegmentationModule

TINY = (
    "model=fcn_resnet50", "model/encoder=unet_small", "model.encoder.width=8", "model.decoder.dropout=0.5",
    "optimizer.lr=0.02", "data.num_workers=0", "data.batch_size=2", "data.train_size=12", "data.val_size=3",
    "data.crop_size=[64,64]", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
)  # fmt: skip
"""A run with batch norm, dropout and a one-cycle schedule, and 6 batches an epoch."""
HARD = (
    *TINY, "seed=8", "data.train_size=20", "trainer.accumulate_grad_batches=4", "trainer.val_check_interval=0.2",
    "checkpoint.every_n_steps=1", "callbacks=[default,ema]", "callbacks.ema.decay=0.5",
)  # fmt: skip
"""A run with 10 batches an epoch and optimiser steps after the 4th, 8th and 10th.

Averaged weights are validated after every second batch. The fourth validation is the best one.
"""
EARLY = (*TINY, "callbacks=[default,early_stopping]", "+callbacks.early_stopping.stopping_threshold=0.0")
"""A run that stops after its first epoch."""
LONGER = (*TINY, "data.num_workers=2", "data.train_size=40", "checkpoint.every_n_steps=3")
"""A run of some seconds, with loader workers."""


def read_metrics_of(run: Path) -> dict[str, Any]:
    """Return the metrics of a run without the path of its checkpoint."""
    return {**json.loads((run / "metrics.json").read_text()), "checkpoint": None}


def outcome(run: Path) -> dict[str, Any]:
    """Return everything that two equal runs have in common."""
    folder = RunFolder(run)
    last, best = load_checkpoint(folder.last_checkpoint), load_checkpoint(folder.best_checkpoint)
    (scores,) = (state["best_model_score"] for key, state in last["callbacks"].items() if "ModelCheckpoint" in key)
    with folder.metrics_csv.open(newline="") as file:
        rows = [
            {**row, "train/images_per_second": bool(row["train/images_per_second"])} for row in csv.DictReader(file)
        ]
    keys = ("global_step", "state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
    return hash_tensors(
        {
            **{key: last.get(key) for key in keys},
            "best": (best["global_step"], best["state_dict"], scores),
            "callbacks": _moved(last["callbacks"], last["folder"], ""),
            "metrics": read_metrics_of(run),
            "rows": rows,
        }
    )


def hash_tensors(value: Any) -> Any:
    """Return nested data with a hash of the bytes in place of each tensor."""
    if isinstance(value, dict):
        return {key: hash_tensors(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hash_tensors(item) for item in value]
    return hashlib.sha256(value.numpy().tobytes()).hexdigest() if isinstance(value, torch.Tensor) else value


class Killed(BaseException):
    """The end of a run that gets no time to save, like SIGKILL, within the tests' process."""


def kill(run: Path, left: Path) -> None:
    """End a run; ``left`` is a copy of what is on the disk at this moment."""
    shutil.copytree(run, left)
    raise Killed


def interrupt(patch: pytest.MonkeyPatch, hook: str, call: int, act: Callable[[], None]) -> None:
    """Call ``act`` when a hook of the module is called for the ``call``-th time."""
    calls, original = [], getattr(SegmentationModule, hook)

    def interrupted(module, *arguments):
        calls.append(1)
        if len(calls) == call:
            act()
        return original(module, *arguments)

    patch.setattr(SegmentationModule, hook, interrupted)


SERVER = """
import importlib, json, os, resource, runpy, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        os.environ.update(job["environment"])
        sys.argv = ["train", *job["overrides"]]
        runpy.run_module("segment.train", run_name="__main__")
        sys.exit()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""A program that imports everything once and forks for each run, so that a run costs two seconds instead of ten."""
IMPORTED = (
    "segment.training.progress", "segment.evaluation.evaluator", "segment.records.metrics_csv",
    "segment.training.last_checkpoint", "segment.data.datasets.shapes", "segment.records.checkpoint",
    "segment.models.decoders.unet",
)  # fmt: skip


class Runs:
    """Trainings in processes of their own, one at a time; a test may kill them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-c", SERVER, json.dumps(IMPORTED)]
        self.server = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n"

    def start(self, folder: Path, *overrides: str, **environment: str) -> int:
        """Start or resume the run in a folder, and return the number of its process."""
        overrides = (*overrides, f"hydra.run.dir={folder}", "resume=auto")
        job = {"overrides": overrides, "log": str(folder) + ".log", "environment": environment}
        print(json.dumps(job), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def end(self) -> int:
        """Wait for the run, and return its exit code."""
        return int(self.server.stdout.readline())

    def log(self, folder: Path) -> str:
        """Return everything that the run in a folder has printed so far."""
        path = Path(f"{folder}.log")
        return path.read_text() if path.is_file() else ""

    def wait_for(self, folder: Path, text: str) -> None:
        """Wait until a run has printed a text."""
        while text not in self.log(folder):
            time.sleep(0.01)
