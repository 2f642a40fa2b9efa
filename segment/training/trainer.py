"""Lightning's Trainer as a run has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint, ProgressBar, RichProgressBar, WeightAveraging

from segment.cli.config import instantiate
from segment.errors import SegmentError
from segment.records.checkpoint import WholeCheckpoints
from segment.training.last_checkpoint import LastCheckpoint

PROGRESS_RATE = 4
"""How often a second the bar is drawn, at 2 to 5 ms. Lightning would do so with each step, up to a hundred times."""


def make_trainer(
    config: Any, folder: Path, loggers: list, earlier: dict[str, Any] | None, begin: Callable[[Trainer], None]
) -> Trainer:
    """Lightning's Trainer with what makes a run that can go on.

    Args:
        earlier: provenance.json of the run that goes on.
        begin: called when training begins.

    Raises:
        SegmentError: it has other processes than the run had that goes on, or can't do what is asked of it.
    """
    first = LambdaCallback(on_train_start=lambda trainer, _: begin(trainer))
    last = LastCheckpoint(folder / "checkpoints" / "last.ckpt", config.checkpoint.every_n_steps)
    callbacks = list((instantiate(config.get("callbacks")) or {}).values())
    # Where weights are averaged, the other callbacks' end of a validation is before the current ones are back.
    callbacks.sort(key=lambda one: isinstance(one, WeightAveraging))
    for key in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if (value := config.trainer.get(key)) is not None and value < 1:
            raise SegmentError(f"trainer.{key}={value}: expected a number from 1")
    if not config.trainer.get("fast_dev_run") and not any(isinstance(one, ModelCheckpoint) for one in callbacks):
        raise SegmentError(
            "callbacks: nothing keeps the best checkpoint, of which the figures are: expected default, as in "
            "callbacks=[default,ema]"
        )
    if config.trainer.enable_progress_bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(RichProgressBar(PROGRESS_RATE))
    trainer = instantiate(
        config.trainer,
        logger=loggers,
        callbacks=[first, *callbacks, last],  # the last one saves what the others know
        plugins=[WholeCheckpoints(), *(instantiate(config.trainer.get("plugins")) or [])],
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # the data modules bring samplers that repeat no image
    )
    check_trainer(trainer, config, earlier)
    return trainer


def check_trainer(trainer: Any, config: Any, earlier: dict[str, Any] | None) -> None:
    """What is known of a run before it begins.

    Raises:
        SegmentError: it would train or validate nothing, can't do what is asked of it, or has other processes than
            the run had that goes on.
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
        raise SegmentError("trainer.sync_batchnorm=true: torch can do this on GPUs only; leave it out on CPUs")
    if earlier and trainer.world_size != earlier["world_size"]:
        raise SegmentError(
            f"resume: this run trains on {earlier['world_size']} processes, but here are {trainer.world_size}: "
            "set trainer.devices and trainer.num_nodes as they were"
        )


def steps_line(trainer: Any) -> str:
    """How many images a step of the optimiser sees, as a line for the screen."""
    processes, images, batches = trainer.world_size, trainer.datamodule.batch_size, trainer.accumulate_grad_batches
    each = f", {images} images each" if processes > 1 else ""
    accumulated = f", {batches} batches a step" if batches > 1 else ""
    number = f"{processes} processes" if processes > 1 else "1 process"
    return f"training on {number}{each}{accumulated}: {processes * images * batches} images a step"


def device_name(device: Any) -> str:
    """The model of a GPU, or the kind of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)
