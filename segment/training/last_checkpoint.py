"""What lets a run go on exactly where it was: its last checkpoint, and an ear for signals."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from lightning import LightningModule
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segment.errors import SegmentError


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt between two steps of the optimiser, and brings a run back to exactly there.

    Lightning's own callback saves in the middle of things: before the step's row is logged and before the
    validation that is due, which the run that goes on then leaves out. Here all that belongs to a step is done when
    it is saved, and the loops' counters say so (:func:`settle`).

    Told to stop by SIGTERM, or by Slurm's signal before the time is up, it saves, asks Slurm to start the job again
    (in the second case), and ends the training.

    Args:
        path: of the checkpoint.
        every_n_steps: optimiser steps between two; None for each epoch's end. The end of training is saved too.

    Raises:
        SegmentError: ``every_n_steps`` is below 1.
    """

    def __init__(self, path: Path, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise SegmentError(f"checkpoint.every_n_steps={every_n_steps}: expected a number from 1, or null")
        self.path, self.every_n_steps = path, every_n_steps
        self._saved = 0  # the step that the file on the disk is of
        self._validating = False
        self._requeue_signal: signal.Signals | None = None
        self._signal: signal.Signals | None = None

    # ----- when to save

    def on_sanity_check_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self._listen(trainer)

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self._listen(trainer)
        loop = trainer.fit_loop.epoch_loop
        if loop.restarting and not loop.val_loop.restarted_mid_evaluation:
            # Where validation has just been done Lightning leaves it out, but counts its step once more.
            loop._batches_that_stepped -= loop._should_check_val_fx(trainer.fit_loop._data_fetcher)

    def on_train_batch_start(self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._between_steps(trainer):
            return
        stop = self._told_to_stop(trainer)
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if (stop or due) and trainer.global_step > self._saved:
            self.save(trainer)
        if stop:
            self._leave(trainer)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self._between_steps(trainer):
            return
        if self._told_to_stop(trainer):  # a validation may take longer than a job is given to end
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):  # the averaged weights were put in for the validation
                    callback.on_validation_epoch_end(trainer, pl_module)
            if trainer.global_step > self._saved:
                self._validating = True
                self.save(trainer)
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        loop = trainer.fit_loop
        end = (
            trainer.should_stop
            or loop.epoch_progress.current.processed == loop.max_epochs
            or trainer.global_step == loop.max_steps
        )
        if end or self.every_n_steps is None:
            self.save(trainer)

    def save(self, trainer: Any) -> None:
        """Write the checkpoint, and before it all rows up to it."""
        if trainer.fast_dev_run:
            return
        for logger in trainer.loggers:
            logger.save()  # some callbacks log without
        trainer.save_checkpoint(self.path)
        self._saved = trainer.global_step

    @staticmethod
    def _between_steps(trainer: Any) -> bool:
        """Whether no gradients of a batch wait for the step they belong to."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        return batches % trainer.accumulate_grad_batches == 0 or batches == trainer.num_training_batches

    # ----- what is saved

    def on_save_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        settle(checkpoint["loops"]["fit_loop"], int(trainer.num_training_batches), self._validating)
        checkpoint["folder"] = str(self.path.parent)

    def on_load_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        trainer.datamodule.start = (
            loops["epoch_progress"]["current"]["processed"],
            loops["epoch_loop.batch_progress"]["current"]["completed"],
        )
        if checkpoint["folder"] == str(self.path.parent):
            self._saved = checkpoint["global_step"]
        states = checkpoint["callbacks"].values()
        # Early stopping remembers that it stopped the training, but does not stop it again.
        trainer.should_stop = any(state.get("stopping_reason") for state in states)
        for state in states:
            if state.get("dirpath") == checkpoint["folder"]:  # ModelCheckpoint forgets its scores where it moved
                state.update(_moved(state, checkpoint["folder"], str(self.path.parent)))

    # ----- signals

    def _listen(self, trainer: Any) -> None:
        """Take the place of Lightning's handlers, which save and stop in the middle of things.

        Lightning puts back what was there before when training ends.
        """
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeue_signal = environment.requeue_signal
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, (signal.SIGTERM, self._requeue_signal)):
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._signal = self._signal or signal.Signals(number)

    def _told_to_stop(self, trainer: Any) -> bool:
        """Whether any process was; all of them get the same answer."""
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _leave(self, trainer: Any) -> None:
        requeue = self._signal is not None and self._signal == self._requeue_signal
        requeue = trainer.strategy.reduce_boolean_decision(requeue, all=False)
        if trainer.is_global_zero:
            further = f"resume={self.path.parent.parent} goes on from step {self._saved}"
            print(f"told to stop; {further if self._saved else 'nothing was trained yet'}", flush=True)
            if requeue:
                ask_for_another_turn()
        raise SIGTERMException


def ask_for_another_turn() -> None:
    """Let Slurm put this job, or this task of an array, into its queue again."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the job is not in Slurm's queue again, submit it: {error}", flush=True)


def settle(loops: dict[str, Any], batches_in_epoch: int, validating: bool) -> None:
    """Let the counters of Lightning's fit loop say that the batches so far are done, and nothing is half done.

    Its own way back knows a dozen halfway states, some of which skip a validation or run an epoch twice.

    Args:
        loops: what the fit loop's ``state_dict`` gives; changed in place.
        batches_in_epoch: the number of them.
        validating: whether the validation after the last batch has yet to be done.
    """
    batch, epoch = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    done = batch["current"]["completed"]
    over = done >= batches_in_epoch and not validating
    for counts in (batch["total"], batch["current"]):
        counts.update(dict.fromkeys(counts, counts["completed"]))
    if over:
        batch["current"].update(dict.fromkeys(batch["current"], 0))
    batch["is_last_batch"] = done >= batches_in_epoch and validating
    for counts in epoch.values():
        finished = counts["ready"] - 1 + over
        begun = finished + (done > 0 and not over)
        counts.update(ready=begun, started=begun, processed=finished, completed=finished)
    if validating:  # what Lightning takes for a validation to be run again
        for counts in (loops["epoch_loop.val_loop.batch_progress"][key] for key in ("total", "current")):
            counts.update(ready=1, started=1, processed=0, completed=0)


def _moved(value: Any, old: str, new: str) -> Any:
    """Paths below a folder as they are below another one, also as keys."""
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value
