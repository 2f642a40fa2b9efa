"""Lightning's private members and the states of its loops are as segment/training/lightning_internals.py expects.

These tests fail first when a new version of Lightning changes one of them.
"""

import signal
from operator import attrgetter
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers.csv_logs import CSVLogger, ExperimentWriter
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segment.training.lightning_internals import (
    between_steps,
    end_other_processes,
    finished_batches,
    is_last_epoch,
    requeue_signal,
    settle_counters,
    uncount_begun_validation,
    uncount_finished_validation,
)

USED = (
    "_accelerator_connector.cluster_environment",
    "accumulate_grad_batches",
    "fit_loop._data_fetcher",
    "fit_loop.epoch_loop._batches_that_stepped",
    "fit_loop.epoch_loop._should_check_val_fx",
    "fit_loop.epoch_loop.batch_progress.current.completed",
    "fit_loop.epoch_loop.restarting",
    "fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart",
    "fit_loop.epoch_loop.val_loop.restarted_mid_evaluation",
    "fit_loop.epoch_progress.current.processed",
    "fit_loop.max_epochs",
    "fit_loop.max_steps",
    "num_training_batches",
    "should_stop",
    "strategy.launcher",
    "strategy.reduce_boolean_decision",
)
"""Attributes of a Trainer, as the package reads them."""
COUNTERS = {"ready", "started", "processed", "completed"}
BATCHES = 6
OPTIONS = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False, "max_epochs": 2, "limit_train_batches": BATCHES, "limit_val_batches": 2,
    "num_sanity_val_steps": 0, "accumulate_grad_batches": 2, "val_check_interval": 3,
}  # fmt: skip
"""A run of 2 epochs with 3 optimiser steps and 2 validations each; the first comes in the middle of a step."""


class Observer(Callback):
    """Record what happens in a run; call ``look`` at the start of each batch.

    Attributes:
        events: (epoch, batch) of each training batch, and "validation".
    """

    def __init__(self, look=None) -> None:
        self.look, self.events = look, []

    def on_train_start(self, trainer, pl_module):
        uncount_finished_validation(trainer)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.look is not None:
            self.look(trainer)
        self.events.append((trainer.current_epoch, batch_idx))

    def on_validation_start(self, trainer, pl_module):
        uncount_begun_validation(trainer)
        self.events.append("validation")


def fit(folder, *callbacks: Callback, checkpoint=None, **options) -> L.Trainer:
    torch.manual_seed(0)
    trainer = L.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**OPTIONS, **options})
    trainer.fit(BoringModel(), ckpt_path=checkpoint)
    return trainer


def test_a_trainer_has_the_attributes_that_are_used(tmp_path):
    missing = []

    def look(trainer):
        for name in USED:
            try:
                attrgetter(name)(trainer)
            except AttributeError as error:
                missing.append(f"{name}: {error}")

    fit(tmp_path, Observer(look), max_epochs=1)
    assert not missing


def test_the_state_of_the_fit_loop_has_the_keys_that_are_changed(tmp_path):
    trainer = fit(tmp_path, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loops = torch.load(tmp_path / "last.ckpt", weights_only=True)["loops"]["fit_loop"]
    for key in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        for counts in ("total", "current"):
            assert loops[key][counts].keys() == COUNTERS, key
    assert loops["epoch_loop.batch_progress"].keys() == {"total", "current", "is_last_batch"}
    assert loops["epoch_progress"].keys() == {"total", "current"}
    assert finished_batches(loops) == (1, BATCHES)


def test_optimiser_steps_and_the_last_epoch_are_recognised(tmp_path):
    between, last = [], []

    class Epochs(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            last.append(is_last_epoch(trainer))

    fit(tmp_path, Observer(lambda trainer: between.append(between_steps(trainer))), Epochs(), limit_train_batches=5)
    assert between == [True, False, True, False, True] * 2  # an epoch's last batch is a step of its own
    assert last == [False, True]
    last.clear()
    fit(tmp_path, Epochs(), max_epochs=-1, max_steps=BATCHES // 2)
    assert last == [True]


@pytest.mark.parametrize("batch", [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4)])
def test_a_run_resumes_after_its_finished_batches(tmp_path, batch):
    """Save where LastCheckpoint does, before a batch: the resumed run has the remaining batches and validations."""

    class Save(Callback):
        def on_train_batch_start(self, trainer, pl_module, one, batch_idx):
            if (trainer.current_epoch, batch_idx) == batch:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            loops = checkpoint["loops"]["fit_loop"]
            settle_counters(loops, BATCHES, validating=False)
            assert finished_batches(loops) == batch

    whole, resumed = Observer(), Observer()
    expected = fit(tmp_path, whole, Save())
    found = fit(tmp_path, resumed, checkpoint=tmp_path / "last.ckpt")
    assert resumed.events == whole.events[whole.events.index(batch) :]
    assert found.global_step == expected.global_step
    assert found.fit_loop.epoch_loop._batches_that_stepped == expected.fit_loop.epoch_loop._batches_that_stepped


@pytest.mark.parametrize("number", [2, 4])
def test_a_run_that_was_saved_in_a_validation_repeats_it(tmp_path, number):
    """The validations at the ends of the epochs are the second and the fourth one, between two optimiser steps."""

    class Save(Callback):
        count = 0

        def on_validation_batch_start(self, trainer, pl_module, one, batch_idx, dataloader_idx=0):
            self.count += batch_idx
            if self.count == number and batch_idx == 1:  # before the second of its two batches
                trainer.save_checkpoint(tmp_path / "last.ckpt")

        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            settle_counters(checkpoint["loops"]["fit_loop"], BATCHES, validating=True)

    whole, resumed = Observer(), Observer()
    expected = fit(tmp_path, whole, Save())
    found = fit(tmp_path, resumed, checkpoint=tmp_path / "last.ckpt")
    start = [i for i, event in enumerate(whole.events) if event == "validation"][number - 1]
    assert resumed.events == whole.events[start:]
    assert found.global_step == expected.global_step
    counts = attrgetter("fit_loop.epoch_loop.val_loop.batch_progress")  # checkpoints contain them
    assert counts(found) == counts(expected)


def test_slurm_s_signal_is_found(tmp_path):
    def trainer(*plugins) -> L.Trainer:
        return L.Trainer(default_root_dir=tmp_path, plugins=list(plugins), **OPTIONS)

    assert requeue_signal(trainer(SLURMEnvironment(requeue_signal=signal.SIGUSR2))) == signal.SIGUSR2
    assert requeue_signal(trainer(SLURMEnvironment(auto_requeue=False))) is None
    assert requeue_signal(trainer()) is None


def test_lightning_restores_the_signal_handlers(tmp_path):
    """LastCheckpoint replaces Lightning's handlers when training starts, and relies on Lightning to restore them."""
    before, during = signal.getsignal(signal.SIGTERM), []

    class Install(Callback):
        def on_train_start(self, trainer, pl_module):
            during.append(signal.getsignal(signal.SIGTERM))
            signal.signal(signal.SIGTERM, lambda number, frame: None)

    fit(tmp_path, Install(), max_epochs=1)
    assert during != [before]  # Lightning installs its own before this hook
    assert signal.getsignal(signal.SIGTERM) == before
    assert issubclass(SIGTERMException, SystemExit)


def test_the_processes_of_ddp_are_killed():
    killed = []
    end_other_processes(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(kill=killed.append))))
    assert killed == [signal.SIGKILL]
    end_other_processes(SimpleNamespace(strategy=SimpleNamespace(launcher=None)))
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False)
    assert callable(trainer.strategy.launcher.kill)
    end_other_processes(trainer)  # it has started none


def test_callbacks_have_the_states_that_are_read(tmp_path):
    stop = EarlyStopping("x", stopping_threshold=0.0)
    assert "stopping_reason" in stop.state_dict()
    assert {"dirpath", "best_model_path", "best_model_score"} <= ModelCheckpoint(tmp_path).state_dict().keys()
    fit(tmp_path, WeightAveraging(), max_epochs=1).save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert {"current_model_state", "averaging_state"} <= checkpoint.keys()


def test_the_csv_logger_has_the_members_that_are_replaced(tmp_path):
    assert callable(ExperimentWriter._check_log_dir_exists)
    assert vars(ExperimentWriter(str(tmp_path))).keys() >= {"metrics", "metrics_keys", "metrics_file_path"}
    assert CSVLogger(tmp_path)._experiment is None
