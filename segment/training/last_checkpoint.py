"""The checkpoint that a run resumes from, and the end of a run at a signal."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from lightning import LightningModule
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.provenance import resume_overrides
from segment.training.divergence import steps_between_reads
from segment.training.lightning_internals import (
    between_steps,
    finished_batches,
    is_last_epoch,
    requeue_signal,
    settle_counters,
    uncount_begun_validation,
    uncount_finished_validation,
)


class LastCheckpoint(Checkpoint):
    """Write last.ckpt between two optimiser steps, and resume a run exactly there.

    Lightning's own callback saves before the step's row is logged and before a validation that is due; the resumed run
    then leaves both out. This one saves when everything that belongs to a step is finished, and sets the counters of
    the loops to that state (:func:`settle_counters`).

    At SIGTERM, and at the signal by which Slurm announces the end of a job's time, it saves and ends the training. In
    the second case it also asks Slurm to requeue the job.

    Args:
        path: path of the checkpoint.
        every_n_steps: optimiser steps between two saves; None saves at the end of each epoch. The end of training is
            always saved.

    Raises:
        SegmentError: ``every_n_steps`` is below 1.

    Example:
        >>> LastCheckpoint(Path("runs/a/checkpoints/last.ckpt"), every_n_steps=100).every_n_steps
        100
    """

    def __init__(self, path: Path, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise SegmentError(f"checkpoint.every_n_steps={every_n_steps}: expected a number from 1, or null")
        self.path, self.every_n_steps = path, every_n_steps
        self._saved = 0  # the step of the file on disk
        self._validating = False
        self._requeue_signal: signal.Signals | None = None
        self._signal: signal.Signals | None = None

    # ----- when to save

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            handle_signals(self._note_signal, signal.SIGINT)

    def teardown(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            handle_signals(signal.default_int_handler, signal.SIGINT)

    def on_exception(self, trainer: Any, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning does not call it after an exception

    def on_sanity_check_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self._install_handlers(trainer)

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self._install_handlers(trainer)
        uncount_finished_validation(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not between_steps(trainer):
            return
        stop = self._stop_requested(trainer, trainer.global_step)
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if (stop or due) and trainer.global_step > self._saved:
            self.save(trainer)
        if stop:
            self._stop(trainer)

    def on_validation_start(self, trainer: Any, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            uncount_begun_validation(trainer)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not between_steps(trainer):
            return
        if self._stop_requested(trainer, batch_idx):  # a validation may take longer than a job has until it is killed
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):  # take the averaged weights out again
                    callback.on_validation_epoch_end(trainer, pl_module)
            if trainer.global_step > self._saved:
                self._validating = True
                self.save(trainer)
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        if self.every_n_steps is None or is_last_epoch(trainer):
            self.save(trainer)

    def save(self, trainer: Any) -> None:
        """Write all logged rows, and then the checkpoint."""
        if trainer.fast_dev_run:
            return
        for logger in trainer.loggers:
            logger.save()  # some callbacks log without saving
        trainer.save_checkpoint(self.path)
        self._saved = trainer.global_step

    # ----- what is saved

    def on_save_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        settle_counters(checkpoint["loops"]["fit_loop"], int(trainer.num_training_batches), self._validating)
        checkpoint["folder"] = str(self.path.parent)

    def on_load_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        trainer.datamodule.start = finished_batches(checkpoint["loops"]["fit_loop"])
        if checkpoint["folder"] == str(self.path.parent):
            self._saved = checkpoint["global_step"]
        states = checkpoint["callbacks"].values()
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):  # it saves its current score, and does not load it
                callback.current_score = checkpoint["callbacks"].get(callback.state_key, {}).get("current_score")
        # Early stopping remembers that it stopped the training, but does not stop it again.
        trainer.should_stop = any(state.get("stopping_reason") for state in states)
        for state in states:
            if state.get("dirpath") == checkpoint["folder"]:  # ModelCheckpoint forgets its scores in another folder
                state.update(_moved(state, checkpoint["folder"], str(self.path.parent)))

    # ----- signals

    def _install_handlers(self, trainer: Any) -> None:
        """Replace Lightning's signal handlers, which save and stop in the middle of a step.

        Lightning restores the earlier handlers when training ends.
        """
        self._requeue_signal = requeue_signal(trainer)
        handle_signals(self._note_signal, signal.SIGTERM, self._requeue_signal)

    def _note_signal(self, number: int, frame: Any) -> None:
        if number == self._signal == signal.SIGINT:  # Ctrl-C twice: end at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._signal = self._signal or signal.Signals(number)

    def _stop_requested(self, trainer: Any, step: int) -> bool:
        """Return whether any process got a signal; the result is the same on all of them.

        Processes with a GPU each ask one another only at some steps: the answer waits until their GPUs are idle.
        """
        if trainer.world_size > 1 and step % steps_between_reads(trainer.strategy.root_device):
            return False
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _stop(self, trainer: Any) -> None:
        requeue = self._signal is not None and self._signal == self._requeue_signal
        requeue = trainer.strategy.reduce_boolean_decision(requeue, all=False)
        if trainer.is_global_zero:
            further = f"{resume_overrides(RunFolder.of_checkpoint(self.path))} continues from step {self._saved}"
            print(f"stop requested; {further if self._saved else 'nothing was trained yet'}", flush=True)
            if requeue:
                requeue_job()
        raise SIGTERMException(128 + (signal.SIGINT if self._signal == signal.SIGINT else signal.SIGTERM))


def handle_signals(handler: Any, *numbers: signal.Signals | None) -> None:
    """Set the handler of signals, which only the main thread can do."""
    if threading.current_thread() is threading.main_thread():
        for number in filter(None, numbers):
            signal.signal(number, handler)


def requeue_job() -> None:
    """Ask Slurm to put this job, or this task of an array, into its queue again."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Slurm did not requeue the job, submit it again: {error}", flush=True)


def _moved(value: Any, old: str, new: str) -> Any:
    """Return a callback's state with the paths below a folder moved to another one, in keys and values."""
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value
