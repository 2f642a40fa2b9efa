"""The LightningModule: a net with its loss, its metrics and its optimiser."""

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segment.data.classes import Classes
from segment.data.dataset import Batch, seed_of
from segment.data.samplers import in_order
from segment.errors import SegmentError
from segment.evaluation.boundary import BoundaryScores
from segment.evaluation.metrics import SegmentationScores, scores
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.prediction.inference import Inference
from segment.training.losses import CrossEntropy
from segment.training.optim import constant


class SegmentationModule(L.LightningModule):
    """Trains and evaluates a net on batches of ``{"image": uint8 RGB, "mask": int64, "id"}``.

    Args:
        net: scores of an image's own size from normalised floats.
        classes: what the net's score maps stand for.
        loss: of scores and mask; None where nothing is trained.
        optimizer: makes one for a net.
        scheduler: makes one for an optimiser and a number of steps; it moves on with each step.
        card: plain data that goes into every checkpoint, see :mod:`segment.records.checkpoint`.
        inference: how the net is asked in validation; None for whole images at one scale.
        boundary: whether validation also measures how well outlines are met.
        seed: of what the net draws while it trains (dropout).

    Raises:
        SegmentError: the loss is not for so many classes.
    """

    def __init__(
        self,
        net: SegmentationNet,
        classes: Classes,
        loss: CrossEntropy | None = None,
        optimizer: Callable[[torch.nn.Module], Optimizer] | None = None,
        scheduler: Callable[[Optimizer, int], LRScheduler] | None = None,
        card: dict[str, Any] | None = None,
        inference: Inference | None = None,
        boundary: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.net, self.classes, self.loss, self.card = net, classes, loss, card or {}
        self._optimizer, self._scheduler = optimizer, scheduler
        self._steps: int | None = None  # that the schedule is planned for
        self.inference = inference or Inference()
        self.scores = SegmentationScores(len(classes))
        self.boundary = BoundaryScores(len(classes)) if boundary else None
        if loss is not None:  # before the first step, which comes after a validation
            loss(torch.zeros(1, len(classes), 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))
        self.figures: dict[str, Any] = {}
        """What the last evaluation gave; see :func:`segment.evaluation.metrics.scores` and, for ``boundary``, its metric."""
        self.confusion: np.ndarray = np.empty(0, np.int64)
        self.counts: np.ndarray = np.empty(0, np.int64)
        """Its confusion matrix (C,C), and (N,3,C) by image in the data set's order, see ``per_image`` of the metric."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What a step draws depends on seed, epoch, batch and process alone: a run that goes on draws the same."""
        seed = seed_of(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.default_generator.manual_seed(seed)  # torch's own takes 100 times as long, for unused devices
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert self.loss is not None, "built for evaluation only"
        try:
            scores = self.net(self.net.normalize(batch["image"]))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise SegmentError(
                "a batch norm saw one value per channel, and wants more in training: "
                "raise data.crop_size or data.batch_size"
            ) from None
        loss = self.loss(scores, batch["mask"])
        if not torch.isfinite(loss):
            raise SegmentError(
                f"the loss is {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, images "
                f"{', '.join(batch['id'][:4])}{', ...' if len(batch['id']) > 4 else ''}): "
                "lower optimizer.lr, set trainer.gradient_clip_val=1 or use trainer.precision=32"
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        if self.loss.reduction == "sum":
            # DDP averages the gradients of its processes, Lightning those of accumulated batches; a sum is a sum.
            loss = loss * (self.trainer.world_size * self.trainer.accumulate_grad_batches)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        prediction = torch.stack([self.inference.class_map(self.net, image) for image in batch["image"]])
        self.scores.update(prediction, batch["mask"])
        if self.boundary is not None:
            self.boundary.update(prediction, batch["mask"])

    def on_validation_epoch_end(self) -> None:
        with self.scores.sync_context():  # inside, the metric's state is that of all processes
            self.confusion, counts = self.scores.confmat.cpu().numpy(), self.scores.per_image().cpu().numpy()
        self.scores.reset()
        self.figures = scores(torch.from_numpy(self.confusion))
        images: Any = self.trainer.val_dataloaders
        self.counts = in_order(counts, self.trainer.world_size, len(images.dataset))
        if self.boundary is not None:
            self.figures["boundary"] = self.boundary.compute()
            self.boundary.reset()
        for name, value in self.figures.items():
            if isinstance(value, float):  # equal on every process: they share the confusion matrix
                self.log(f"val/{name}", value, prog_bar=name == "mIoU", rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        if self._optimizer is None:
            raise SegmentError("this module was built without an optimiser: it can evaluate, not train")
        optimizer = self._optimizer(self.net)
        if self._scheduler is None:
            return optimizer
        steps, planned = self.trainer.estimated_stepping_batches, self._steps
        if getattr(self._scheduler, "func", None) is constant:
            steps = planned = 0  # it needs no plan
        elif steps == float("inf"):
            raise SegmentError("this schedule needs an end: set trainer.max_epochs or max_steps, or scheduler=constant")
        self._steps = int(steps)
        if planned not in {None, 0, self._steps}:
            raise SegmentError(
                f"resume: the checkpoint's learning rates were planned for {planned} steps, this run has "
                f"{self._steps}: leave trainer.max_epochs as it was; only a run with scheduler=constant may get longer"
            )
        scheduler = self._scheduler(optimizer, self._steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METADATA] = {**self.card, "planned_steps": self._steps}
        if "callbacks" in checkpoint:
            return
        # Of weights alone Lightning's callbacks hear nothing: where they are averaged, the average was validated.
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            if isinstance(callback, WeightAveraging):
                callback.on_save_checkpoint(self.trainer, self, checkpoint)
                del checkpoint["current_model_state"], checkpoint["averaging_state"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._steps = checkpoint.get(METADATA, {}).get("planned_steps")
