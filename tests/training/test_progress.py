"""A line after each validation, and the throughput of all processes without validation."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from segment.training.progress import EpochBar, EpochLine, Throughput


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "epoch 2/5  step 7  loss 0.1235  mIoU 0.5000\n"),
        ({"max_epochs": -1}, "epoch 2  step 7  loss 0.1235  mIoU 0.5000\n"),
        ({"callback_metrics": {"val/mIoU": 0.5}}, "epoch 2/5  step 7  loss nan  mIoU 0.5000\n"),
        ({"sanity_checking": True}, ""),
        ({"state": SimpleNamespace(fn="validate")}, ""),
    ],
)
def test_the_line_after_a_validation(capsys, changes, line):
    values = {
        "sanity_checking": False,
        "state": SimpleNamespace(fn="fit"),
        "callback_metrics": {"train/loss": torch.tensor(0.12345), "val/mIoU": torch.tensor(0.5)},
        "current_epoch": 1,
        "max_epochs": 5,
        "global_step": 7,
    }
    EpochLine().on_validation_end(SimpleNamespace(**{**values, **changes}), None)
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(("max_epochs", "shown"), [(5, "Epoch 2/5"), (-1, "Epoch 2"), (None, "Epoch 2")])
def test_the_bar_counts_epochs_as_the_line_does_and_shows_no_version(tmp_path, max_epochs, shown):
    """Lightning's own bar begins at 0, and shows the end of TensorBoard's version as v_num=oard."""
    bar, logger = EpochBar(), TensorBoardLogger(tmp_path, "", "tensorboard")
    bar._trainer = SimpleNamespace(max_epochs=max_epochs)
    assert bar._get_train_description(1).rstrip() == shown
    trainer = SimpleNamespace(loggers=[logger], progress_bar_metrics={"val/mIoU": 0.5})
    trainer.callback_metrics = {"train/loss": torch.tensor(2.0)}
    assert bar.get_metrics(trainer, None) == {"train/loss": 2.0, "val/mIoU": 0.5}


def test_throughput_is_that_of_all_processes_without_validation(monkeypatch):
    """Two processes have 4 images and a second each a step; a validation takes 100 seconds."""
    clock, logged = [0.0], []
    monkeypatch.setattr("segment.training.progress.time.perf_counter", lambda: clock[0])
    trainer = SimpleNamespace(world_size=2, log_every_n_steps=2, global_step=0)
    module = SimpleNamespace(log=lambda name, value: logged.append((name, value)))
    throughput = Throughput()
    throughput.on_train_start(trainer, module)
    throughput.on_train_epoch_start(trainer, module)
    for step in range(1, 7):
        clock[0] += 1
        trainer.global_step = step
        throughput.on_train_batch_end(trainer, module, None, {"image": torch.zeros(4, 3, 1, 1)}, step)
        if step == 3:
            clock[0] += 100
            throughput.on_validation_end(trainer, module)
    assert logged == [("train/images_per_second", 8.0)] * 3
