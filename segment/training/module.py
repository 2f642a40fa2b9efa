"""The LightningModule that trains a net: loss, optimiser, schedule, and validation."""

import math
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segment.data.classes import Classes
from segment.data.dataset import Batch, seed_of
from segment.errors import SegmentError
from segment.evaluation.evaluator import EvaluationAccumulator, predict_batch
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.prediction.inference import Inference
from segment.training.divergence import RecentLosses, steps_between_reads
from segment.training.optim import build_optimizer
from segment.training.probes import FurtherMetrics, check_loss


class SegmentationModule(L.LightningModule):
    """Train a net on batches of ``{"image": uint8 (N,3,H,W), "mask": uint8 (N,H,W), "id"}``, and validate it.

    Args:
        net: maps normalised images (N,3,H,W) to scores (N,classes,H,W).
        classes: names of the net's score maps.
        loss: called with scores and int64 labels (N,H,W); None for a module that is only loaded.
        optimizer: see :func:`segment.training.optim.build_optimizer`.
        scheduler: called with the optimiser and, if it has a parameter ``total_steps``, with the number of steps of
            the run. The learning rates change after each step.
        metadata: plain data for every checkpoint, see :mod:`segment.records.checkpoint`.
        inference: protocol of validation; by default whole images at one scale.
        seed: seed of the random numbers in training (dropout).
        metrics: further metrics of the validation by name, see :class:`segment.training.probes.FurtherMetrics`.

    Raises:
        SegmentError: the loss or a metric fails, or does not give a number.

    Example:
        >>> from segment.models.decoders.fcn import FCNDecoder
        >>> from segment.models.encoders.unet_encoder import UNetEncoder
        >>> net = SegmentationNet(UNetEncoder(4, 2, 3), FCNDecoder, 2)
        >>> module = SegmentationModule(net, Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
    """

    def __init__(
        self,
        net: SegmentationNet,
        classes: Classes,
        loss: nn.Module | None = None,
        optimizer: Callable[[nn.Module], Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        metadata: dict[str, Any] | None = None,
        inference: Inference | None = None,
        seed: int = 0,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.net, self.classes, self.loss, self.metadata = net, classes, loss, metadata or {}
        self._optimizer, self.scheduler = optimizer, scheduler
        self._planned_steps: int | None = None
        self._noted = False
        self._losses = RecentLosses()
        self.inference = inference or Inference()
        self.accumulator = EvaluationAccumulator(classes)
        self.further_metrics = FurtherMetrics(metrics or {})
        if loss is not None:
            check_loss(loss, len(classes))

    def on_train_start(self) -> None:
        steps = self.trainer.estimated_stepping_batches
        if steps < self.trainer.log_every_n_steps:  # type: ignore[attr-defined]  # a short run has a curve, too
            self.trainer.log_every_n_steps = max(1, int(steps))  # type: ignore[attr-defined]  # set by a connector

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the random numbers by seed, epoch, batch and process: a resumed run draws the same ones."""
        seed = seed_of(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 100 times as long, for unused devices
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert self.loss is not None, "built for evaluation only"
        try:
            scores = self.net(self.net.normalize(batch["image"]))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            way = "data.batch_size to 2 or more" if len(batch["image"]) == 1 else "data.crop_size or data.batch_size"
            raise SegmentError(
                f"a batch norm got one value per channel, and needs more in training: raise {way}"
            ) from None
        loss = self.loss(scores, batch["mask"].long())  # made int64 on the device, since bytes are copied faster
        self._losses.add(loss, self.global_step, self.current_epoch, batch["id"])
        if len(self._losses) >= steps_between_reads(loss.device):
            self._losses.check()
        self.log("train/loss", loss, batch_size=len(batch["image"]))  # prog_bar=True would read it at each step
        if getattr(self.loss, "reduction", "mean") == "sum":
            # DDP averages the gradients of its processes, and Lightning those of accumulated batches.
            loss = loss * (self.trainer.world_size * self.trainer.accumulate_grad_batches)
        return loss

    def on_train_epoch_end(self) -> None:
        self._losses.check()
        if not self._losses.learned and self.global_rank == 0:
            print(
                "note: the loss was 0 throughout: is a pixel of the training split labelled, and does the loss "
                "count it? See segment.check"
            )
        self._losses.learned = True

    def on_validation_start(self) -> None:
        self._losses.check()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        prediction = predict_batch(self.net, self.inference, batch["image"])
        self.accumulator.update(prediction, batch["mask"])
        self.further_metrics.update(prediction, batch["mask"])

    def on_validation_epoch_end(self) -> None:
        loader: Any = self.trainer.val_dataloaders
        evaluation = self.accumulator.pop_result(self.trainer.world_size, len(loader.dataset))
        if math.isnan(evaluation.metrics["mIoU"]) and not self._noted and self.global_rank == 0:
            self._noted = True
            print("note: no pixel of the validation split is labelled, so that it has no mIoU; see segment.check")
        for name, value in evaluation.metrics.items():
            if isinstance(value, float):  # equal on every process: all have the merged confusion matrix
                self.log(f"val/{name}", value, prog_bar=name == "mIoU", rank_zero_only=False)
        for name, value in self.further_metrics.pop().items():
            self.log(f"val/{name}", value, rank_zero_only=False)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            if hasattr(callback, "on_evaluation"):
                callback.on_evaluation(self.trainer, self, evaluation)

    def configure_optimizers(self) -> Any:
        if self._optimizer is None:
            raise SegmentError("this module was built without an optimiser: it can evaluate, not train")
        optimizer = build_optimizer(self._optimizer, self.net)
        if self.scheduler is None:
            return optimizer
        needs_plan = "total_steps" in signature(self.scheduler).parameters
        options = {"total_steps": self._plan()} if needs_plan else {}
        try:
            scheduler = self.scheduler(optimizer, **options)
        except (TypeError, ValueError) as error:
            raise SegmentError(f"scheduler: {error}") from error
        if not isinstance(scheduler, LRScheduler):
            raise SegmentError(f"scheduler: expected an LRScheduler of torch, got a {type(scheduler).__name__}")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _plan(self) -> int:
        """Return the number of steps of the schedule, which a resumed run has to keep."""
        steps, planned = self.trainer.estimated_stepping_batches, self._planned_steps
        if steps == float("inf"):
            raise SegmentError("this schedule needs an end: set trainer.max_epochs or max_steps, or scheduler=constant")
        self._planned_steps = int(steps)
        if planned not in {None, self._planned_steps}:
            raise SegmentError(
                f"resume: the checkpoint's learning rates were planned for {planned} steps, this run has "
                f"{self._planned_steps}: leave trainer.max_epochs as it was; only a run with scheduler=constant may "
                "get longer"
            )
        return self._planned_steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._losses.check()  # never keep weights that have diverged
        checkpoint[METADATA] = {**self.metadata, "planned_steps": self._planned_steps}
        if "callbacks" in checkpoint:
            return
        # Lightning calls no callbacks for a checkpoint of weights alone. With WeightAveraging, save the averaged
        # weights, since those were validated.
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            if isinstance(callback, WeightAveraging):
                callback.on_save_checkpoint(self.trainer, self, checkpoint)
                del checkpoint["current_model_state"], checkpoint["averaging_state"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._planned_steps = checkpoint.get(METADATA, {}).get("planned_steps")
