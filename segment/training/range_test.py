"""The learning-rate range test (Smith, 2017): rates rise from step to step, and the loss shows which of them learn."""

from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from scipy.ndimage import gaussian_filter1d
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.cli.value_types import as_typed, check_arguments
from segment.display.figures import save_figure
from segment.display.plots import range_test_curve
from segment.errors import SegmentError
from segment.files import shown
from segment.records.folder import RunFolder
from segment.training.checks import check_trainer_config
from segment.training.divergence import DivergedError
from segment.training.faults import ActiveRun
from segment.training.module import SegmentationModule
from segment.training.progress import EpochBar
from segment.training.resume import RunStart

STEPS = 100
"""Number of optimiser steps of a test."""
DECADES = 3.0
"""Powers of ten by which the first rates are below the configured ones, and the last ones above them."""
DIVERGED = 4.0
"""Multiple of the smallest loss so far at which a test ends."""
SMOOTHING = 0.04
"""Standard deviation, as a share of the steps, of the Gaussian that smooths the losses."""
FEWEST = 10
"""Fewest steps from which a rate is chosen. In the first so many of a test, nothing has been learned yet."""


def check_range_test(config: Any, start: RunStart) -> float:
    """Return the configured learning rate, after checking that a test makes sense.

    Raises:
        SegmentError: the run is resumed, a trial or a job of a sweep, its folder has a run, or it has no learning rate.
    """
    reasons = {
        "it trains nothing that could be resumed": config.resume is not None,
        "trainer.fast_dev_run=true is too short": config.trainer.get("fast_dev_run"),
        "a job of a sweep has to have metrics: run it alone": start.folder.job_status.is_file(),
        f"{shown(start.folder.path)} has a run: choose another hydra.run.dir": start.folder.is_run,
    }
    for reason in (reason for reason, found in reasons.items() if found):
        raise SegmentError(f"tune.lr=true: {reason}")
    rate = config.optimizer.get("lr")
    if not isinstance(rate, int | float) or rate <= 0:
        raise SegmentError(f"tune.lr=true multiplies optimizer.lr={as_typed(rate)}: expected a number above 0")
    return float(rate)


def factor(step: int) -> float:
    """Return the factor of the configured learning rates at a step of the test, from 0."""
    return 10 ** (DECADES * (2 * step / (STEPS - 1) - 1))


def rising_rates(optimizer: Optimizer) -> LambdaLR:
    """Multiply the learning rate of each parameter group by the same factor, see :func:`factor`."""
    return LambdaLR(optimizer, factor)


class LossOfSteps(Callback):
    """Record the loss of each optimiser step, over its batches and all processes, and stop where it diverges.

    An epoch's last step may have fewer batches than the others, so that its loss is a mean and no sum.

    Attributes:
        losses: one for each step.

    Example:
        >>> LossOfSteps().losses
        []
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._batches: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = float(trainer.strategy.reduce(outputs["loss"], reduce_op="mean"))
        self._batches.append(loss * trainer.accumulate_grad_batches)  # Lightning has divided by it
        if trainer.global_step > len(self.losses):
            self.losses.append(fmean(self._batches))
            self._batches.clear()
            trainer.should_stop = self.losses[-1] > DIVERGED * min(self.losses)


def steepest(losses: Sequence[float]) -> tuple[int | None, np.ndarray]:
    """Return the step at which the smoothed loss falls most steeply, and the smoothed losses.

    The step is None if the loss is lowest at the first rates, so that none of them learns.
    """
    capped = np.minimum(losses, max(losses[:FEWEST]))  # a loss that diverges would spoil the mean of its neighbours
    smooth = gaussian_filter1d(capped, SMOOTHING * STEPS, mode="nearest")
    lowest = int(smooth.argmin())
    return (int(np.gradient(smooth)[:lowest].argmin()) if lowest else None), smooth


def build_test_trainer(config: Any, folder: str, recorder: Callback) -> Trainer:
    """Build a Trainer for :data:`STEPS` steps that validates, logs and saves nothing."""
    check_trainer_config(check_arguments(plain(config), "trainer"))
    bar = [EpochBar(4)] if config.enable_progress_bar else []
    return instantiate(
        config,
        logger=False,
        callbacks=[recorder, *bar],
        enable_checkpointing=False,
        default_root_dir=folder,
        use_distributed_sampler=False,
        max_epochs=-1,
        max_steps=STEPS,
        max_time=None,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        val_check_interval=None,
        check_val_every_n_epoch=1,
    )


def run_range_test(config: Any, start: RunStart, module: SegmentationModule, data: Any, run: ActiveRun) -> None:
    """Train with rising learning rates, write ``learning_rate.png``, and print the override to type.

    Args:
        config: the configuration of ``segment.train``.
        start: the beginning of the run.
        module: the module to train, whose schedule is replaced.
        data: the data module.
        run: the active run, which gets the trainer.

    Raises:
        SegmentError: no learning rate lowers the loss.
    """
    rate, recorder = check_range_test(config, start), LossOfSteps()
    module.scheduler = rising_rates
    run.trainer = trainer = build_test_trainer(config.trainer, str(start.folder.path), recorder)
    with suppress(DivergedError):  # the test is over
        trainer.fit(module, data)
    if trainer.is_global_zero:
        report_range_test([rate * factor(step) for step in range(STEPS)], recorder.losses, start.folder)


def report_range_test(rates: Sequence[float], losses: Sequence[float], folder: RunFolder) -> None:
    """Plot a test into its folder, and print the rate at which the loss falls most steeply, as an override.

    Raises:
        SegmentError: there is no such rate.
    """
    if not losses:
        raise SegmentError("tune.lr=true: no step was trained; see trainer.limit_train_batches")
    step, smooth = steepest(losses)
    chosen = None if step is None or len(losses) < FEWEST else rates[step]
    save_figure(range_test_curve(rates[: len(losses)], losses, smooth.tolist(), chosen), folder.range_test_plot)
    plot = shown(folder.range_test_plot)
    if chosen is None:
        raise SegmentError(
            f"tune.lr=true: the loss does not fall from a rate of {rates[0]:.2g} on, see {plot}: lower optimizer.lr, "
            "which is the middle of the range"
        )
    print(f"tested {len(losses)} learning rates, see {plot}; the loss falls most steeply at")
    print(f"optimizer.lr={chosen:.2g}")
