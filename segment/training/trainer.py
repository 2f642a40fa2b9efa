"""Lightning's Trainer with everything that a run needs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback, ProgressBar, WeightAveraging

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.cli.targets import locate
from segment.cli.value_types import check_arguments
from segment.errors import SegmentError
from segment.records.checkpoint_writer import WholeCheckpoints
from segment.training.checks import (
    check_best,
    check_callbacks,
    check_first_validation,
    check_trainer,
    check_trainer_config,
)
from segment.training.last_checkpoint import LastCheckpoint
from segment.training.progress import EpochBar
from segment.training.resume import RunStart

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

    def begin(trainer: Any, _: Any) -> None:
        if start.checkpoint is None:
            check_first_validation(trainer)
        on_start(trainer)

    last = LastCheckpoint(start.folder.last_checkpoint, config.checkpoint.every_n_steps)
    parts = {name: part for name, part in (plain(config.get("callbacks")) or {}).items() if part}  # null: without it
    named = {name: instantiate(part) for name, part in check_arguments(parts, "callbacks").items()}
    if wrong := [name for name, one in named.items() if not isinstance(one, Callback)]:
        raise SegmentError(f"callbacks.{wrong[0]} is no callback: expected a table with _target_, its class")
    callbacks = [*named.values()]
    # WeightAveraging restores the trained weights when a validation ends; all other callbacks have to come before.
    callbacks.sort(key=lambda callback: isinstance(callback, WeightAveraging))
    check_trainer_config(check_arguments(plain(config.trainer), "trainer"))
    check_callbacks(callbacks, good_values(plain(config.get("metrics")) or {}))
    if not config.trainer.get("fast_dev_run"):
        check_best(parts)
    callbacks.insert(0, LambdaCallback(on_train_start=begin))
    if config.trainer.enable_progress_bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(EpochBar(PROGRESS_RATE))
    trainer = instantiate(
        config.trainer,
        logger=loggers,
        callbacks=[*callbacks, last],  # the last one saves the states of the others
        plugins=[WholeCheckpoints(), *(instantiate(config.trainer.get("plugins")) or [])],
        default_root_dir=str(start.folder.path),
        use_distributed_sampler=False,  # the data modules have samplers that repeat no image
    )
    check_trainer(trainer, config)
    if start.record and trainer.world_size != start.record.get("world_size"):
        raise SegmentError(
            f"resume: this run was started on {start.record.get('world_size')} processes, and now has "
            f"{trainer.world_size}: set trainer.devices and trainer.num_nodes as they were"
        )
    return trainer


def good_values(metrics: Mapping[str, Any]) -> dict[str, str | None]:
    """Return by which values each of torchmetrics' metrics is good: "max", "min", or None if it does not say.

    Args:
        metrics: configuration of the further metrics.
    """
    classes = {name: locate(table["_target_"]) for name, table in metrics.items() if table}
    words: dict[Any, str] = {True: "max", False: "min"}
    return {name: words.get(getattr(found, "higher_is_better", None)) for name, found in classes.items()}


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
