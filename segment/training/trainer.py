"""Lightning's Trainer with everything that a run needs, and the checks before it starts."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback, ModelCheckpoint, ProgressBar, WeightAveraging

from segment.cli.build import instantiate
from segment.errors import SegmentError
from segment.records.checkpoint import WholeCheckpoints
from segment.training.last_checkpoint import LastCheckpoint
from segment.training.progress import EpochBar
from segment.training.resume import RunStart

MONITORS = ("val/mIoU", "val/pixel_accuracy", "val/mean_accuracy", "val/frequency_weighted_IoU", "train/loss")
"""Metrics by which the best checkpoint can be chosen."""
PROGRESS_RATE = 4
"""Refreshes of the progress bar in a second. Each takes 2 to 5 ms, and Lightning's default is up to a hundred."""


def build_trainer(config: Any, start: RunStart, loggers: list, on_start: Callable[[Any], None]) -> Any:
    """Build a Trainer whose run can be stopped and resumed.

    Args:
        config: the configuration of ``segment.train``.
        start: how the run begins.
        loggers: the loggers of the run.
        on_start: called with the Trainer when training begins.

    Raises:
        SegmentError: the run cannot do what is configured, or has another number of processes than it had.
    """
    first = LambdaCallback(on_train_start=lambda trainer, _: on_start(trainer))
    last = LastCheckpoint(start.folder.last_checkpoint, config.checkpoint.every_n_steps)
    named = instantiate(config.get("callbacks")) or {}
    if wrong := [name for name, one in named.items() if not isinstance(one, Callback)]:
        raise SegmentError(f"callbacks.{wrong[0]} is no callback: expected a table with _target_, its class")
    callbacks = list(named.values())
    # WeightAveraging restores the trained weights when a validation ends; all other callbacks have to come before.
    callbacks.sort(key=lambda callback: isinstance(callback, WeightAveraging))
    check_trainer_config(config, callbacks)
    if config.trainer.enable_progress_bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(EpochBar(PROGRESS_RATE))
    trainer = instantiate(
        config.trainer,
        logger=loggers,
        callbacks=[first, *callbacks, last],  # the last one saves the states of the others
        plugins=[WholeCheckpoints(), *(instantiate(config.trainer.get("plugins")) or [])],
        default_root_dir=str(start.folder.path),
        use_distributed_sampler=False,  # the data modules have samplers that repeat no image
    )
    check_trainer(trainer, config)
    if start.record and trainer.world_size != start.record["world_size"]:
        raise SegmentError(
            f"resume: this run was started on {start.record['world_size']} processes, and now has "
            f"{trainer.world_size}: set trainer.devices and trainer.num_nodes as they were"
        )
    return trainer


def check_trainer_config(config: Any, callbacks: list) -> None:
    """Check the settings that Lightning's Trainer does not check.

    Raises:
        SegmentError: a number is out of range, or no callback keeps the best checkpoint.
    """
    for key in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if (value := config.trainer.get(key)) is not None and value < 1:
            raise SegmentError(f"trainer.{key}={value}: expected a number from 1")
    if any(word in str(config.trainer.get("strategy")) for word in ("fork", "spawn", "notebook")):
        raise SegmentError(
            f"trainer.strategy={config.trainer.strategy}: expected a strategy whose processes begin anew, such as ddp"
        )
    savers = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    for saver in savers:
        if saver.monitor not in MONITORS and (saver.monitor or saver.filename == "best"):  # others may save by time
            raise SegmentError(f"callbacks: monitor={saver.monitor} is not logged, expected {', '.join(MONITORS)}")
    if not config.trainer.get("fast_dev_run") and not any(saver.filename == "best" for saver in savers):
        raise SegmentError(
            "callbacks: nothing keeps the best checkpoint, which the metrics are measured on: expected default, as in "
            "callbacks=[default,ema], with callbacks.best.filename=best"
        )


def check_trainer(trainer: Any, config: Any) -> None:
    """Check that a run will train and validate, before it begins.

    Raises:
        SegmentError: nothing would be trained or validated, or a CPU cannot do what is configured.
    """
    if 0 in {trainer.max_epochs, trainer.max_steps, trainer.limit_train_batches}:
        raise SegmentError("trainer.max_epochs, max_steps or limit_train_batches is 0: nothing would be trained")
    if 0 < (trainer.max_epochs or 0) < (trainer.check_val_every_n_epoch or 1):
        raise SegmentError(
            f"trainer.check_val_every_n_epoch={trainer.check_val_every_n_epoch}: nothing would be validated in "
            f"{trainer.max_epochs} epochs, and the best checkpoint is the best in validation"
        )
    if trainer.limit_val_batches == 0 and not trainer.fast_dev_run:
        raise SegmentError(
            "trainer.limit_val_batches=0: nothing would be validated, and the best checkpoint is the best in validation"
        )
    if config.trainer.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise SegmentError("trainer.sync_batchnorm=true: torch supports this on GPUs only; leave it out on CPUs")


def describe_step(trainer: Any) -> str:
    """Return the number of images of an optimiser step, as a line for the screen."""
    processes, images, batches = trainer.world_size, trainer.datamodule.batch_size, trainer.accumulate_grad_batches
    each = f", {images} images each" if processes > 1 else ""
    accumulated = f", {batches} batches a step" if batches > 1 else ""
    number = f"{processes} processes" if processes > 1 else "1 process"
    return f"training on {number}{each}{accumulated}: {processes * images * batches} images a step"


def device_name(device: Any) -> str:
    """Return the model of a GPU, or the kind of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)
