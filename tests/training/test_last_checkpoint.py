"""A run that is interrupted in any way at any moment ends exactly as one that is not."""

import contextlib
import os
import random
import signal
import subprocess
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from segment.data.samplers import TrainSampler
from segment.errors import SegmentError
from segment.records.checkpoint import load_checkpoint
from segment.records.folder import RunFolder
from segment.training.last_checkpoint import LastCheckpoint, requeue_job
from tests.training.runs import HARD, LONGER, TINY, Killed, interrupt, kill, outcome


@pytest.mark.parametrize(
    ("hook", "call", "end", "step", "overrides"),
    [
        # In the middle of an epoch and of the batches of a step, after a validation.
        pytest.param("training_step", 6, "kill", 1, (), marks=pytest.mark.slow),
        # In the last validation of an epoch.
        pytest.param("validation_step", 2 + 4 * 3 + 2, "terminate", 3, (), marks=pytest.mark.slow),
        # In a validation in the middle of the batches of a step.
        pytest.param("validation_step", 2 + 2 * 3 + 2, "terminate", 2, (), marks=pytest.mark.slow),
        # After an epoch.
        pytest.param("training_step", 12, "kill", 3, ("checkpoint.every_n_steps=null",), marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    main, tmp_path, monkeypatch, uninterrupted, hook, call, end, step, overrides
):
    run, left = tmp_path / "run", tmp_path / "left"
    act = partial(kill, run, left) if end == "kill" else partial(os.kill, os.getpid(), signal.SIGTERM)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        interrupt(patch, hook, call, act)
        with pytest.raises(SystemExit) as ended:
            main("train", *HARD, *overrides, f"hydra.run.dir={run}")
        assert ended.value.code == 143
        run.rename(left)  # the run may also be resumed in another place
    assert load_checkpoint(left / "checkpoints" / "last.ckpt")["global_step"] == step
    main("train", *HARD, f"hydra.run.dir={left}", "resume=auto")
    assert outcome(left) == uninterrupted


@pytest.mark.slow
def test_counted_weights_and_own_transforms_are_those_of_an_uninterrupted_run(main, tmp_path, monkeypatch, capfd):
    """Weights of the record are used again: pixels are counted once, also for a run that is repeated."""
    run, left, whole = tmp_path / "run", tmp_path / "left", tmp_path / "whole"
    turn = "{_target_: torchvision.transforms.v2.RandomRotation, degrees: 40}"
    mixed = ("loss=sum", "loss.terms=[focal,lovasz]", "loss.parts.focal.class_weights=auto", f"data.augment=[{turn}]")
    options = (*TINY, *mixed, "checkpoint.every_n_steps=2")
    main("train", *options, "data.num_workers=2", f"hydra.run.dir={whole}")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        interrupt(patch, "training_step", 6, partial(kill, run, left))
        main("train", *options, f"hydra.run.dir={run}")
    main("train", *options, f"hydra.run.dir={left}", "resume=auto")
    found, expected = outcome(left), outcome(whole)
    for one in (found, expected):
        one["metrics"]["checkpoint_digest"] = None  # the checkpoint also holds data.num_workers
    assert found == expected
    again = main("train", f"repeat={left}")
    assert outcome(again)["state_dict"] == outcome(whole)["state_dict"]
    assert capfd.readouterr().out.count("counting the pixels of each class in 12 images") == 2
    main("evaluate", f"checkpoint={again}")


@pytest.mark.slow
def test_the_best_checkpoint_so_far_is_copied_to_another_folder(main, tmp_path, monkeypatch, uninterrupted):
    run, left = tmp_path / "run", tmp_path / "left"
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        interrupt(patch, "training_step", 12, partial(kill, run, left))  # after the best validation
        main("train", *HARD, f"hydra.run.dir={run}")
    place = tmp_path / "place"
    (place / "checkpoints").mkdir(parents=True)
    RunFolder(place).claim()  # another run was here
    (place / "checkpoints" / "best.ckpt").write_text("another run's")
    main("train", *HARD, f"resume={left}", f"hydra.run.dir={place}")
    assert {**outcome(place), "rows": None} == {**uninterrupted, "rows": None}


@pytest.mark.slow
def test_averaged_weights_are_validated_kept_and_evaluated(uninterrupted):
    validated = [float(row["val/mIoU"]) for row in uninterrupted["rows"] if row["val/mIoU"]]
    assert validated[-1] < max(validated) == pytest.approx(uninterrupted["metrics"]["mIoU"])


@pytest.mark.slow
def test_a_run_killed_at_random_moments(runs, longer, tmp_path):
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


@pytest.mark.slow
def test_slurm_is_asked_to_requeue_the_job(runs, longer, tmp_path):
    """Send Slurm's signal to all processes of the job, also to the workers of the loader."""
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
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
    assert (tmp_path / "requeued").read_text() == "requeue 1234\n"
    runs.start(folder, *LONGER, "logger=wandb", **environment)
    assert runs.end() == 0, runs.log(folder)
    assert outcome(folder) == longer[0]
    names = [path.name.rpartition("-")[2] for path in (folder / "wandb").glob("offline-run-*")]
    assert len(names) == 2
    assert len(set(names)) == 1  # two folders of one wandb run


def test_a_task_of_an_array_is_requeued_and_a_failure_is_reported(monkeypatch, capsys):
    commands = []
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    requeue_job()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue_job()
    assert commands == [["scontrol", "requeue", "12"], ["scontrol", "requeue", "10_3"]]

    def fail(command, check):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr("subprocess.run", fail)
    requeue_job()
    assert "Slurm did not requeue the job, submit it again" in capsys.readouterr().out


def test_a_best_checkpoint_keeps_its_score_in_another_folder(tmp_path):
    """ModelCheckpoint forgets its scores if its folder's path is another one."""
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    state = {"dirpath": old, "best_model_path": f"{old}/best.ckpt", "best_k_models": {f"{old}/best.ckpt": 0.5}}
    loops = {
        "epoch_progress": {"current": {"processed": 1}},
        "epoch_loop.batch_progress": {"current": {"completed": 2}},
    }
    checkpoint = {
        "folder": old,
        "global_step": 7,
        "callbacks": {"ModelCheckpoint": state},
        "loops": {"fit_loop": loops},
    }
    trainer = SimpleNamespace(datamodule=SimpleNamespace(), should_stop=None, checkpoint_callbacks=[])
    LastCheckpoint(tmp_path / "new" / "last.ckpt").on_load_checkpoint(trainer, None, checkpoint)
    assert state == {"dirpath": new, "best_model_path": f"{new}/best.ckpt", "best_k_models": {f"{new}/best.ckpt": 0.5}}
    assert trainer.datamodule.start == (1, 2)
    assert trainer.should_stop is False


def test_ctrl_c_is_python_s_again_after_an_exception(tmp_path):
    callback, before = LastCheckpoint(tmp_path / "last.ckpt"), signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    callback.setup(None, None, "fit")
    assert signal.getsignal(signal.SIGINT) != before
    callback.on_exception(None, None, SystemExit())
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("processes", "device", "asked"), [(1, "cuda", [*range(17)]), (2, "cpu", [*range(17)]), (2, "cuda", [0, 8, 16])]
)
def test_processes_with_gpus_ask_one_another_every_few_steps(tmp_path, processes, device, asked):
    decide = SimpleNamespace(root_device=torch.device(device), reduce_boolean_decision=lambda signal, all: True)
    trainer = SimpleNamespace(world_size=processes, strategy=decide)
    last = LastCheckpoint(tmp_path / "last.ckpt")
    assert [step for step in range(17) if last._stop_requested(trainer, step)] == asked


def test_steps_between_two_saves_are_counted_from_one(tmp_path):
    with pytest.raises(SegmentError, match=r"^checkpoint.every_n_steps=0: expected a number from 1, or null$"):
        LastCheckpoint(tmp_path / "last.ckpt", 0)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_images_of_processes_do_not_overlap_and_a_sampler_starts_at_any_batch(processes):
    def draws(rank: int, epoch: int, start: tuple[int, int] = (0, 0)) -> list:
        sampler = TrainSampler(20, 2, seed=0, rank=rank, world_size=processes, start=start)
        sampler.set_epoch(epoch)
        return list(sampler)

    for epoch in (0, 1):
        shares = [draws(rank, epoch) for rank in range(processes)]
        assert [len(share) for share in shares] == [20 // (2 * processes) * 2] * processes
        assert len({draw.sample for share in shares for draw in share}) == sum(map(len, shares))
        assert [draws(rank, epoch, (epoch, 2)) for rank in range(processes)] == [share[4:] for share in shares]
        assert [draws(rank, epoch, (epoch + 1, 2)) for rank in range(processes)] == shares
