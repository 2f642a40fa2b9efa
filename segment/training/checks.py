"""Checks of the Trainer and its callbacks, so that a run that cannot give metrics is refused before its first step."""

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateFinder,
    ModelCheckpoint,
    WeightAveraging,
)

from segment.cli.value_types import as_typed
from segment.console import print_once
from segment.data.workers import cores
from segment.errors import SegmentError

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


def check_compiler(accelerator: Any) -> None:
    """Check that there is a compiler for ``torch.compile`` on a CPU; on a GPU torch has another way.

    Args:
        accelerator: ``trainer.accelerator``.

    Raises:
        SegmentError: there is none.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch looks for it
    if shutil.which(compiler.partition(" ")[0]) is None:
        raise SegmentError(
            f"compile=true needs a C++ compiler on a CPU, and there is no {compiler}: install it, name another one by "
            "the environment variable CXX, or leave out compile=true"
        )
    print_once("note: compile=true: on a CPU, compiling takes up to a minute, and steps need not become faster")


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
    if isinstance(value := config.get("val_check_interval"), int | float) and value <= 0:
        raise SegmentError(
            f"trainer.val_check_interval={value}: expected a share of an epoch above 0, or a number of batches"
        )
    if any(word in str(config.get("strategy")) for word in ("fork", "spawn", "notebook")):
        raise SegmentError(
            f"trainer.strategy={config['strategy']}: expected a strategy whose processes begin anew, such as ddp"
        )
    for key in ("epochs", "steps"):
        shortest, longest = config.get(f"min_{key}"), config.get(f"max_{key}")
        if shortest is not None and longest not in {None, -1} and shortest > longest:
            raise SegmentError(f"trainer.min_{key}={shortest} is above trainer.max_{key}={longest}: raise the latter")
    if config.get("max_epochs") is None and config.get("max_steps") in {None, -1} and not config.get("max_time"):
        raise SegmentError("trainer.max_epochs=null: expected trainer.max_steps or trainer.max_time in its place")
    processes, limit = config.get("devices"), max(16, 4 * cores())
    if config.get("accelerator") == "cpu" and isinstance(processes, int) and processes > limit:
        raise SegmentError(f"trainer.devices={processes}: expected at most {limit} processes on this CPU")
    for key in SET_HERE:
        if key in config:
            raise SegmentError(f"trainer.{key} has no effect, since segment.train sets it: leave it out")


def check_callbacks(callbacks: Sequence[Any], metrics: Mapping[str, str | None] | None = None) -> None:
    """Check that the callbacks monitor what is logged, and that Lightning can tell them apart.

    It is unknown what callbacks of the user's own log, so that with one of them any metric can be monitored.

    Args:
        callbacks: all callbacks of the run.
        metrics: of each further metric its name, and "max" or "min" by which of its values are good, None if unknown;
            one that gives several values logs them as ``val/NAME/KEY``.

    Raises:
        SegmentError: a monitored metric is not logged or is compared the wrong way, a number is out of range, a
            callback is not supported, or two are alike.
    """
    further = {f"val/{name}": mode for name, mode in (metrics or {}).items()}
    modes = further | MONITORS
    known = all(type(callback).__module__.startswith(("segment.", "lightning.")) for callback in callbacks)
    for callback in callbacks:
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if good := modes.get(str(monitor)):
            if (mode := getattr(callback, "mode", good)) != good:
                raise SegmentError(f"callbacks: {name} has mode={mode} for {monitor}: expected mode={good}")
        elif monitor and known and not monitor.startswith("lr-") and "/".join(monitor.split("/")[:2]) not in further:
            logged = ", ".join([*MONITORS, *further])
            raise SegmentError(f"callbacks: {name}'s monitor={monitor} is not logged, expected {logged}")
        _check_options(callback, name)
    keys = [saver.state_key for saver in callbacks if isinstance(saver, ModelCheckpoint)]
    if len({*keys}) < len(keys):
        raise SegmentError("callbacks: two ModelCheckpoints are alike: they have to differ in monitor, mode or time")


def _check_options(callback: Any, name: str) -> None:
    """Check arguments that Lightning takes, and that cannot be meant."""
    if isinstance(callback, EarlyStopping) and callback.patience < 1:
        raise SegmentError(f"callbacks: {name} has patience={callback.patience}: expected 1 or more validations")
    if isinstance(callback, EarlyStopping) and callback.min_delta * (-1 if callback.mode == "min" else 1) < 0:
        raise SegmentError(f"callbacks: {name} has a min_delta below 0: expected a number from 0")
    if isinstance(callback, EMAWeightAveraging) and callback.update_every_n_steps < 1:
        raise SegmentError(f"callbacks: {name} has update_every_n_steps below 1: nothing would be averaged")
    if isinstance(callback, WeightAveraging) and (unknown := callback._kwargs.keys() - {"avg_fn", "multi_avg_fn"}):
        raise SegmentError(f"callbacks: {name} takes no {min(unknown)}")
    if isinstance(callback, LearningRateFinder | BatchSizeFinder):
        raise SegmentError(f"callbacks: {name} is not supported: use tune.lr=true, or segment.summary's largest_batch")


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
    if epochs is None or last is None or trainer.fast_dev_run:  # batches are counted over epochs, or it is a time
        return
    rounded = math.ceil if last == batches else math.floor  # the last step of an epoch may have fewer batches
    each = trainer.accumulate_grad_batches
    steps = (epochs - 1) * math.ceil(batches / each) + rounded(last / each)
    if 0 < trainer.max_steps < steps:
        raise SegmentError(
            f"trainer.max_steps={trainer.max_steps}: nothing would be validated, the first validation comes after "
            f"{steps} steps: raise it, or lower trainer.val_check_interval"
        )
