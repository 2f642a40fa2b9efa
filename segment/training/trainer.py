"""Lightning's Trainer with everything that a run needs, and the checks before it starts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback, ModelCheckpoint, ProgressBar, WeightAveraging

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.cli.value_types import as_typed, check_arguments
from segment.errors import SegmentError
from segment.records.checkpoint import WholeCheckpoints
from segment.training.last_checkpoint import LastCheckpoint
from segment.training.progress import EpochBar
from segment.training.resume import RunStart

MONITORS = {
    "val/mIoU": "max", "val/pixel_accuracy": "max", "val/mean_accuracy": "max", "val/frequency_weighted_IoU": "max",
    "train/loss": "min",
}  # fmt: skip
"""Metrics that a callback of ours or of Lightning's can monitor, and which of their values are good."""
LEAST = {
    "accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0, "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
}  # fmt: skip
"""Smallest values of the Trainer's numbers that Lightning does not check itself."""
SET_HERE = ("logger", "callbacks", "default_root_dir", "use_distributed_sampler")
"""Arguments of the Trainer that every run sets itself."""
BEST = {
    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "best", "enable_version_counter": False,
    "save_top_k": 1,
}  # fmt: skip
"""Arguments by which best.ckpt is the best of all validations, also in a run that is resumed."""
BEST_OPTIONS = ("monitor", "mode", "save_weights_only", "verbose")
"""Further arguments of that callback."""
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
    named = instantiate(parts)
    if wrong := [name for name, one in named.items() if not isinstance(one, Callback)]:
        raise SegmentError(f"callbacks.{wrong[0]} is no callback: expected a table with _target_, its class")
    callbacks = [*named.values()]
    # WeightAveraging restores the trained weights when a validation ends; all other callbacks have to come before.
    callbacks.sort(key=lambda callback: isinstance(callback, WeightAveraging))
    check_trainer_config(check_arguments(plain(config.trainer), "trainer"))
    check_monitors(callbacks)
    keys = [saver.state_key for saver in callbacks if isinstance(saver, ModelCheckpoint)]
    if len({*keys}) < len(keys):
        raise SegmentError(
            "callbacks: two ModelCheckpoints differ in no monitor, mode or time: Lightning needs one of them"
        )
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
    if start.record and trainer.world_size != start.record["world_size"]:
        raise SegmentError(
            f"resume: this run was started on {start.record['world_size']} processes, and now has "
            f"{trainer.world_size}: set trainer.devices and trainer.num_nodes as they were"
        )
    return trainer


def check_trainer_config(config: Mapping[str, Any]) -> None:
    """Check what Lightning's Trainer does not check.

    Args:
        config: the Trainer's arguments.

    Raises:
        SegmentError: a number is out of range, or an argument has no effect.
    """
    for key, least in LEAST.items():
        if (value := config.get(key)) is not None and value < least:
            raise SegmentError(f"trainer.{key}={value}: expected a number from {least}")
    if (value := config.get("val_check_interval")) is not None and value <= 0:
        raise SegmentError(
            f"trainer.val_check_interval={value}: expected a share of an epoch above 0, or a number of batches"
        )
    if any(word in str(config.get("strategy")) for word in ("fork", "spawn", "notebook")):
        raise SegmentError(
            f"trainer.strategy={config['strategy']}: expected a strategy whose processes begin anew, such as ddp"
        )
    for key in SET_HERE:
        if key in config:
            raise SegmentError(f"trainer.{key} has no effect, since segment.train sets it: leave it out")


def check_monitors(callbacks: Sequence[Any]) -> None:
    """Check that the callbacks monitor what is logged.

    It is unknown what callbacks of the user's own log, so that with one of them any metric can be monitored.

    Raises:
        SegmentError: a monitored metric is not logged, or is compared the wrong way.
    """
    known = all(type(callback).__module__.startswith(("segment.", "lightning.")) for callback in callbacks)
    for callback in callbacks:
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if monitor in MONITORS:
            if callback.mode != MONITORS[monitor]:
                raise SegmentError(
                    f"callbacks: {name} has mode={callback.mode} for {monitor}: expected mode={MONITORS[monitor]}"
                )
        elif monitor and known and not monitor.startswith("lr-"):
            raise SegmentError(f"callbacks: {name}'s monitor={monitor} is not logged, expected {', '.join(MONITORS)}")


def check_best(config: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a callback keeps the best checkpoint of all validations.

    Args:
        config: of the callbacks.

    Raises:
        SegmentError: no callback does, or it keeps another one.
    """
    keepers = {name: part for name, part in config.items() if part.get("filename") == "best"}
    if not keepers:
        raise SegmentError(
            "callbacks: nothing keeps the best checkpoint, which the metrics are measured on: expected default, as in "
            "callbacks=[default,ema], with callbacks.best.filename=best"
        )
    for name, part in keepers.items():
        for key, value in part.items():
            if (key not in BEST_OPTIONS and value != BEST.get(key)) or (key == "monitor" and value is None):
                raise SegmentError(
                    f"callbacks.{name}.{key}={as_typed(value)}: best.ckpt is the best of all validations"
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


def check_first_validation(trainer: Any) -> None:
    """Check, when a training begins, that it does not end before its first validation.

    Raises:
        SegmentError: ``trainer.max_steps`` is smaller than the number of steps before the first validation.
    """
    epochs, batches, last = trainer.check_val_every_n_epoch, trainer.num_training_batches, trainer.val_check_batch
    if epochs is None or trainer.fast_dev_run:  # None: batches are counted over epochs
        return
    rounded = math.ceil if last == batches else math.floor  # the last step of an epoch may have fewer batches
    each = trainer.accumulate_grad_batches
    steps = (epochs - 1) * math.ceil(batches / each) + rounded(last / each)
    if 0 < trainer.max_steps < steps:
        raise SegmentError(
            f"trainer.max_steps={trainer.max_steps}: nothing would be validated, the first validation comes after "
            f"{steps} steps: raise it, or lower trainer.val_check_interval"
        )


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
