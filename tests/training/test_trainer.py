"""The Trainer has everything that a run needs, and impossible settings are refused before training."""

from types import SimpleNamespace

import pytest
import torch

from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.records.checkpoint_writer import WholeCheckpoints
from segment.records.folder import RunFolder
from segment.training.last_checkpoint import LastCheckpoint
from segment.training.resume import RunStart
from segment.training.trainer import build_trainer, describe_step, device_name


def build(folder, *overrides: str, record=None):
    config = load_config(["trainer.accelerator=cpu", *overrides])
    return build_trainer(config, RunStart(RunFolder(folder), record=record), [], lambda trainer: None)


def test_the_callbacks_of_a_run_and_their_order(tmp_path):
    trainer = build(tmp_path, "callbacks=[ema,default]", "checkpoint.every_n_steps=7")
    names = [type(callback).__name__ for callback in trainer.callbacks]
    assert names[0] == "LambdaCallback"
    assert names[-2:] == ["ModelCheckpoint", "LastCheckpoint"]  # the last one saves the states of the others
    assert names.index("EMAWeightAveraging") > names.index("WandbMedia")
    assert names.count("EpochBar") == 1
    last = trainer.callbacks[-1]
    assert isinstance(last, LastCheckpoint)
    assert (last.path, last.every_n_steps) == (tmp_path / "checkpoints" / "last.ckpt", 7)
    assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints)
    assert trainer.default_root_dir == str(tmp_path)


def test_a_progress_bar_of_the_user_s_replaces_ours(tmp_path):
    bar = "+callbacks.bar._target_=lightning.pytorch.callbacks.TQDMProgressBar"
    assert "EpochBar" not in {type(callback).__name__ for callback in build(tmp_path, bar).callbacks}


def test_a_callback_without_a_class_is_refused(tmp_path):
    with pytest.raises(SegmentError, match=r"^callbacks.mine is no callback: expected a table with _target_"):
        build(tmp_path, "+callbacks.mine.x=1")


def test_training_begins_with_the_given_function(tmp_path):
    seen = []
    config = load_config(["trainer.accelerator=cpu"])
    trainer = build_trainer(config, RunStart(RunFolder(tmp_path)), [], seen.append)
    trial = SimpleNamespace(fast_dev_run=True, check_val_every_n_epoch=1, num_training_batches=1, val_check_batch=1)
    trainer.callbacks[0].on_train_start(trial, None)
    assert seen == [trial]


def test_a_run_is_resumed_on_as_many_processes_as_before(tmp_path):
    with pytest.raises(SegmentError, match=r"^resume: this run was started on 2 processes, and now has 1: set trainer"):
        build(tmp_path, record={"world_size": 2})
    build(tmp_path, record={"world_size": 1})


@pytest.mark.parametrize(
    ("processes", "accumulated", "line"),
    [
        (1, 1, "training on 1 process: 8 images a step"),
        (2, 1, "training on 2 processes, 8 images each: 16 images a step"),
        (2, 3, "training on 2 processes, 8 images each, 3 batches a step: 48 images a step"),
    ],
)
def test_the_images_of_a_step(processes, accumulated, line):
    data = SimpleNamespace(batch_size=8)
    trainer = SimpleNamespace(world_size=processes, datamodule=data, accumulate_grad_batches=accumulated)
    assert describe_step(trainer) == line


def test_the_name_of_a_device():
    assert device_name(torch.device("cpu")) == "cpu"
