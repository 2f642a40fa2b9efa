"""A run that is interrupted, however and whenever, ends exactly as one that is not."""

import contextlib
import csv
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segment.cli.config import read_hydra_record
from segment.comparison.run import read
from segment.data.datasets.shapes import ShapesDataModule
from segment.data.samplers import TrainSampler
from segment.records.checkpoint import WholeCheckpoints, load_checkpoint, load_net
from segment.training.module import SegmentationModule
from segment.training.resume import take_words

TINY = (
    "model=fcn_resnet50", "model/encoder=unet_small", "model.encoder.width=8", "model.decoder.dropout=0.5",
    "optimizer.lr=0.02", "data.num_workers=0", "data.batch_size=2", "data.train_size=12", "data.val_size=3",
    "data.crop_size=[64,64]", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
)  # fmt: skip
"""Batch norm, dropout and a one-cycle schedule; 6 batches an epoch."""
HARD = (
    *TINY, "seed=8", "data.train_size=20", "trainer.accumulate_grad_batches=4", "trainer.val_check_interval=0.2",
    "checkpoint.every_n_steps=1", "callbacks=[default,ema]", "callbacks.ema.decay=0.5",
)  # fmt: skip
"""Of 10 batches steps after 4, 8 and 10, validation of averaged weights after every second; the best is the fourth."""


EARLY = (*TINY, "callbacks=[default,early_stopping]", "+callbacks.early_stopping.stopping_threshold=0.0")
"""Stops after the first epoch."""


def outcome(run: Path) -> dict[str, Any]:
    """All that two equal runs have in common."""
    last, best = load_checkpoint(run / "checkpoints" / "last.ckpt"), load_checkpoint(run / "checkpoints" / "best.ckpt")
    (scores,) = (state["best_model_score"] for key, state in last["callbacks"].items() if "ModelCheckpoint" in key)
    metrics = json.loads((run / "metrics.json").read_text())
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {**row, "train/images_per_second": bool(row["train/images_per_second"])} for row in csv.DictReader(file)
        ]
    keys = ("global_step", "state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
    return bits(
        {
            **{key: last.get(key) for key in keys},
            "best": (best["global_step"], best["state_dict"], scores),
            "metrics": {**metrics, "checkpoint": None, "checkpoint_digest": None},
            "rows": rows,
        }
    )


def bits(value: Any) -> Any:
    """Nested data with a hash of its bits for each tensor."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return hashlib.sha256(value.numpy().tobytes()).hexdigest() if isinstance(value, torch.Tensor) else value


class Killed(BaseException):
    """Comes as suddenly as SIGKILL, and leaves the tests' process alive."""


def kill(run: Path, left: Path) -> None:
    """End a run; no more than what is copied to ``left`` is on the disk then."""
    shutil.copytree(run, left)
    raise Killed


def interrupt(patch: pytest.MonkeyPatch, hook: str, call: int, act: Callable[[], None]) -> None:
    """Do something when one of the module's hooks is called for the ``call``-th time."""
    calls, original = [], getattr(SegmentationModule, hook)

    def interrupted(module, *arguments):
        calls.append(1)
        if len(calls) == call:
            act()
        return original(module, *arguments)

    patch.setattr(SegmentationModule, hook, interrupted)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def uninterrupted(main: Callable[..., Path], kept: Path) -> dict[str, Any]:
    """What a run with HARD's words comes to."""
    folder = kept / "hard"
    if not folder.exists():
        main("train", *HARD, f"hydra.run.dir={folder}")
    return outcome(folder)


@pytest.fixture
def trained(main: Callable[..., Path], kept: Path, tmp_path: Path) -> Path:
    """A finished run."""
    folder = kept / "trained"
    if not folder.exists():
        main("train", *EARLY, f"hydra.run.dir={folder}")
    return Path(shutil.copytree(folder, tmp_path / "trained"))


@pytest.mark.parametrize(
    ("hook", "call", "end", "step", "words"),
    [
        # In the middle of an epoch and of a step's batches, after a validation; in an epoch's last validation.
        ("training_step", 6, "kill", 1, ()),
        pytest.param("validation_step", 2 + 4 * 3 + 2, "terminate", 3, (), marks=pytest.mark.slow),
        # In a validation in the middle of a step's batches; after an epoch.
        pytest.param("validation_step", 2 + 2 * 3 + 2, "terminate", 2, (), marks=pytest.mark.slow),
        pytest.param("training_step", 12, "kill", 3, ("checkpoint.every_n_steps=null",), marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_ends_as_one_that_is_not(
    main, tmp_path, monkeypatch, uninterrupted, hook, call, end, step, words
):
    run, left = tmp_path / "run", tmp_path / "left"
    act = partial(kill, run, left) if end == "kill" else partial(os.kill, os.getpid(), signal.SIGTERM)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        interrupt(patch, hook, call, act)
        with pytest.raises(SystemExit) as ended:
            main("train", *HARD, *words, f"hydra.run.dir={run}")
        assert ended.value.code == 143
        run.rename(left)
    assert load_checkpoint(left / "checkpoints" / "last.ckpt")["global_step"] == step
    main("train", *HARD, f"hydra.run.dir={left}", "resume=auto")
    assert outcome(left) == uninterrupted  # in another place, too


@pytest.mark.slow
def test_the_best_so_far_goes_along_to_another_place(main, tmp_path, monkeypatch, uninterrupted):
    run, left = tmp_path / "run", tmp_path / "left"
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        interrupt(patch, "training_step", 12, partial(kill, run, left))  # the best is behind it
        main("train", *HARD, f"hydra.run.dir={run}")
    place = tmp_path / "place"
    (place / "checkpoints").mkdir(parents=True)
    (place / "checkpoints" / "best.ckpt").write_text("another run's")
    main("train", *HARD, f"resume={left}", f"hydra.run.dir={place}")
    assert {**outcome(place), "rows": None} == {**uninterrupted, "rows": None}


def test_averaged_weights_are_what_is_validated_kept_and_measured(uninterrupted):
    shown = [float(row["val/mIoU"]) for row in uninterrupted["rows"] if row["val/mIoU"]]
    assert shown[-1] < max(shown) == pytest.approx(uninterrupted["metrics"]["mIoU"])


def metrics(run: Path) -> dict[str, Any]:
    return {**json.loads((run / "metrics.json").read_text()), "checkpoint": None}


def test_a_finished_run_is_left_alone_and_an_unmeasured_one_is_measured(main, trained, capfd):
    words = (*EARLY, f"hydra.run.dir={trained}", "resume=auto")
    main("train", *words, "data.num_workers=1")
    assert "finished" in capfd.readouterr().out
    before = metrics(trained)
    (trained / "metrics.json").unlink()  # killed between its last step and this
    main("train", *words)
    assert "epoch" not in capfd.readouterr().out
    assert metrics(trained) == before
    assert load_checkpoint(trained / "checkpoints" / "last.ckpt")["global_step"] == 6


def test_words_that_are_refused_do_not_change_what_a_run_is_said_to_be(main, trained):
    with pytest.raises(SystemExit, match="this would be another run"):
        main("train", *EARLY, "data.batch_size=4", f"hydra.run.dir={trained}", "resume=auto")
    assert read_hydra_record(trained)[0]["data"]["batch_size"] == 4  # Hydra's own record is written anew
    found = read(trained)
    assert found.config["data.batch_size"] == 2
    assert found.choices["model"] == "fcn_resnet50"


def test_a_finished_run_does_not_go_on_in_another_ones_directory(main, trained, tmp_path, capfd):
    """Whose figures and checkpoint are no answer."""
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    with pytest.raises(SystemExit, match="was trained to its end"):
        main("train", *EARLY, f"hydra.run.dir={other}", f"resume={trained}")
    assert "finished" not in capfd.readouterr().out
    assert metrics(other) == metrics(trained)
    assert read(other).metrics["mIoU"] == read(trained).metrics["mIoU"]


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("data.batch_size=4", "data.batch_size: 2 -> 4"),
        ("seed=1", "seed: 0 -> 1"),
        ("model.encoder.width=4", "model.encoder.width: 8 -> 4"),
        ("callbacks.early_stopping.patience=5", "patience: 10 -> 5"),
        ("resume={}/checkpoints/best.ckpt", "weights only"),
        ("checkpoint.every_n_steps=0", "checkpoint.every_n_steps=0: expected"),
    ],
)
def test_a_run_goes_on_as_the_run_that_it_was(main, trained, word, named):
    (trained / "metrics.json").unlink()
    words = (*EARLY, f"hydra.run.dir={trained}", "resume=auto", word.format(trained))
    with pytest.raises(SystemExit, match=r"^error: .*\Z") as ended:
        main("train", *words)
    assert named in ended.value.code


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What is longer cannot be written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(main, trained, tmp_path):
    last = trained / "checkpoints" / "last.ckpt"
    before, content = last.read_bytes(), load_checkpoint(last)
    message = r"^error: cannot write .*last.ckpt \(File too large\).* make room, and go on with resume=run\Z"
    with largest_file(len(before) // 2):
        with pytest.raises(OSError, match="File too large"):
            WholeCheckpoints().save_checkpoint(content, last)
        with pytest.raises(SystemExit, match=message):
            main("train", *TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert last.read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_a_run_repeats_from_its_directory(main, trained, capfd):
    record = json.loads((trained / "provenance.json").read_text())
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["config"]["optimizer"]["lr"] == 0.02
    assert [start["step"] for start in record["starts"]] == [0]
    (trained / "provenance.json").write_text(json.dumps({**record, "data": {**record["data"], "val": "other"}}))
    again = main("train", f"repeat={trained}")
    assert again != trained
    assert metrics(again) == metrics(trained)
    (note,) = (line for line in capfd.readouterr().out.splitlines() if line.startswith("note"))
    assert note == f"note: not as it was when {trained} began: data.val: other -> {record['data']['val']}"


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shards_do_not_overlap_and_a_sampler_starts_anywhere(processes):
    def draws(rank: int, epoch: int, start: tuple[int, int] = (0, 0)) -> list:
        sampler = TrainSampler(20, 2, seed=0, rank=rank, world_size=processes, start=start)
        sampler.set_epoch(epoch)
        return list(sampler)

    for epoch in (0, 1):
        shards = [draws(rank, epoch) for rank in range(processes)]
        assert [len(shard) for shard in shards] == [20 // (2 * processes) * 2] * processes
        assert len({draw.sample for shard in shards for draw in shard}) == sum(map(len, shards))
        assert [draws(rank, epoch, (epoch, 2)) for rank in range(processes)] == [shard[4:] for shard in shards]
        assert [draws(rank, epoch, (epoch + 1, 2)) for rank in range(processes)] == shards


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
        sys.argv = ["train", *job["words"]]
        runpy.run_module("segment.train", run_name="__main__")
        sys.exit()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Imports once, and forks for each run: a run that may be killed costs two seconds in place of ten."""


class Runs:
    """Trainings in processes of their own, one at a time."""

    def __init__(self, folder: Path) -> None:
        names = [
            "segment.training.progress",
            "segment.evaluation.evaluator",
            "segment.records.metrics_csv",
            "segment.training.last_checkpoint",
            "segment.data.datasets.shapes",
        ]
        self.folder = folder
        command = [
            sys.executable,
            "-c",
            SERVER,
            json.dumps([*names, "segment.records.checkpoint", "segment.models.decoders.unet"]),
        ]
        self.server = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n"

    def start(self, folder: Path, *words: str, **environment: str) -> int:
        words = (*words, f"hydra.run.dir={folder}", "resume=auto")
        job = {"words": words, "log": str(folder) + ".log", "environment": environment}
        print(json.dumps(job), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def end(self) -> int:
        return int(self.server.stdout.readline())

    def log(self, folder: Path) -> str:
        path = Path(f"{folder}.log")
        return path.read_text() if path.is_file() else ""

    def wait_for(self, folder: Path, text: str) -> None:
        while text not in self.log(folder):
            time.sleep(0.01)


@pytest.fixture(scope="module")
def runs(kept: Path) -> Iterator[Runs]:
    server = Runs(kept)
    yield server
    server.server.communicate()


LONGER = (*TINY, "data.num_workers=2", "data.train_size=40", "checkpoint.every_n_steps=3")


@pytest.fixture(scope="module")
def longer(runs: Runs, kept: Path) -> tuple[dict[str, Any], float]:
    """What a run with LONGER's words comes to, and how many seconds it takes."""
    started = time.monotonic()
    runs.start(kept / "longer", *LONGER)
    assert runs.end() == 0, runs.log(kept / "longer")
    return outcome(kept / "longer"), time.monotonic() - started


@pytest.mark.slow
def test_killed_at_random_moments(runs, longer, tmp_path):
    expected, length = longer
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for number in range(int(os.environ.get("KILLS", "3"))):
        folder = tmp_path / f"killed{number}"
        process = runs.start(folder, *LONGER)
        time.sleep(moments.uniform(0.2, 1) * length)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        if runs.end() != 0:
            runs.start(folder, *LONGER)
            assert runs.end() == 0, runs.log(folder)
        assert outcome(folder) == expected, f"seed {seed}, kill {number}"


@pytest.mark.parametrize(
    ("tasks", "words", "added"),
    [
        ("4", ["data=voc"], ["hydra.run.dir=runs/slurm_1234_0", "resume=auto"]),
        ("4", ["resume=null"], ["hydra.run.dir=runs/slurm_1234_0"]),
        ("4", ["hydra.run.dir=mine"], []),
        ("4", ["-m", "seed=0,1"], []),
        ("1", ["data=voc"], []),
    ],
)
def test_processes_of_srun_share_a_directory(monkeypatch, tasks, words, added):
    """Their clocks, which name the directory of a run, are not one."""
    for name, value in {"NTASKS": tasks, "PROCID": "3", "JOB_ID": "1234", "STEP_ID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(sys, "argv", ["train", *words])
    take_words()
    assert sys.argv == ["train", *words, *added]


@pytest.mark.slow
def test_slurm_asks_for_another_turn(runs, longer, tmp_path):
    """All processes of a job get the signal, a loader's workers, too."""
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    tasks = {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1"}
    place = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    job = {"SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "train", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    wandb = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    folder, environment = tmp_path / "run", tasks | place | job | wandb
    process = runs.start(folder, *LONGER, "logger=wandb", **environment)
    runs.wait_for(folder, "epoch 1/2")
    os.killpg(process, signal.SIGUSR1)
    assert runs.end() == 143, runs.log(folder)
    assert (tmp_path / "asked").read_text() == "requeue 1234\n"
    runs.start(folder, *LONGER, "logger=wandb", **environment)
    assert runs.end() == 0, runs.log(folder)
    assert outcome(folder) == longer[0]
    names = [path.name.rpartition("-")[2] for path in (folder / "wandb").glob("offline-run-*")]
    assert len(names) == 2
    assert len(set(names)) == 1  # two folders, one run


@pytest.mark.slow
def test_three_processes_measure_what_a_count_by_hand_does(run, tmp_path):
    """Seven images of mixed sizes, which three do not divide."""
    words = [*TINY, "data.val_size=7", "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.devices=3"]
    done = run("train", *words, "trainer.strategy=ddp", "hydra.run.dir=three")
    assert "training on 3 processes, 2 images each: 6 images a step" in done.stdout
    net = load_net(load_checkpoint(tmp_path / "three" / "checkpoints" / "best.ckpt"), "best.ckpt")
    counts, data = np.zeros((6, 6)), ShapesDataModule(12, 7).dataset("val")
    for i in range(7):
        truth, prediction = data[i]["mask"].numpy(), net.predict(data[i]["image"][None])[0].numpy()
        np.add.at(counts, (truth[truth != 255], prediction[truth != 255]), 1)
    hits, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    figures = metrics(tmp_path / "three")
    assert list(figures["per_class_IoU"].values()) == [h / u if u else None for h, u in zip(hits, union, strict=True)]
    assert figures["pixel_accuracy"] == hits.sum() / counts.sum()
