"""Evaluation of a net, or of predicted masks, on a split: counting over all images and processes, and the result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from segment.data.classes import Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Batch
from segment.data.samplers import in_order
from segment.errors import SegmentError
from segment.evaluation.boundary import BoundaryScores
from segment.evaluation.calibration import CalibrationScores
from segment.evaluation.metrics import SegmentationScores, confusion_metrics
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference, highest

Predictor = Callable[[Tensor, str], Tensor]
"""A function from an image uint8 (3,H,W) and its id to class indices (H,W)."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation over all images and processes.

    Attributes:
        metrics: see :func:`segment.evaluation.metrics.confusion_metrics`; with ``boundary``, ``calibration`` and
            ``further_metrics``, if they were measured.
        confusion: int64 (C,C), counted pixels by true class (rows) and predicted class (columns).
        counts: int64 (N,3,C), correct, true and predicted pixels of each image, in the data set's order.
        classes: names and colours of the C classes.
        groups: group of each image (N,), where images are not independent.

    Example:
        >>> counts = np.array([[[4], [4], [4]]])
        >>> Evaluation({"mIoU": 1.0}, counts[0, :1], counts, Classes(("a",), ((0, 0, 0),))).metrics["mIoU"]
        1.0
    """

    metrics: dict[str, Any]
    confusion: np.ndarray
    counts: np.ndarray
    classes: Classes
    groups: np.ndarray | None = None


class EvaluationAccumulator(nn.Module):
    """Count predictions against the truth, and merge the counts of all processes.

    Args:
        classes: classes of the data set.
        boundary: whether the metrics of boundaries are measured, too.

    Example:
        >>> accumulator = EvaluationAccumulator(Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
        >>> accumulator.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 1]]]))
        >>> accumulator.pop_result(world_size=1, images=1).metrics["mIoU"]
        1.0
    """

    def __init__(self, classes: Classes, boundary: bool = False, calibration: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.scores = SegmentationScores(len(classes))
        self.boundary = BoundaryScores(len(classes)) if boundary else None
        self.calibration = CalibrationScores() if calibration else None

    def update(self, prediction: Tensor, mask: Tensor, confidence: Tensor | None = None) -> None:
        """Count class indices (N,H,W) against labels (N,H,W), where 255 is ignored.

        Args:
            confidence: probability (N,H,W) of the predicted class, for calibration.
        """
        self.scores.update(prediction, mask)
        if self.boundary is not None:
            self.boundary.update(prediction, mask)
        if self.calibration is not None and confidence is not None:
            self.calibration.update(prediction, mask, confidence)

    def pop_result(self, world_size: int, images: int) -> Evaluation:
        """Merge the counts of all processes, and reset them. All processes have to call this.

        Args:
            world_size: number of processes.
            images: number of images in the split.
        """
        with self.scores.sync_context():  # inside, the metric's state is that of all processes
            confusion, counts = self.scores.confmat.cpu(), self.scores.per_image().cpu().numpy()
        self.scores.reset()
        metrics = confusion_metrics(confusion)
        for name, further in (("boundary", self.boundary), ("calibration", self.calibration)):
            if further is not None:
                metrics[name] = further.compute()
                further.reset()
        return Evaluation(metrics, confusion.numpy(), in_order(counts, world_size, images), self.classes)


class NetPredictor(nn.Module):
    """A net, and the protocol by which it segments an image.

    Args:
        net: a net in evaluation mode.
        inference: the protocol.
    """

    def __init__(self, net: SegmentationNet, inference: Inference) -> None:
        super().__init__()
        self.net, self.inference = net, inference

    def forward(self, image: Tensor, id: str) -> Tensor:
        """Return the class indices int64 (H,W) of an image uint8 (3,H,W)."""
        return self.inference.class_map(self.net, image)

    def with_confidence(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class indices of an image, and the probability float32 (H,W) of the class of each pixel."""
        classes, confidence = self.inference.run(self.net, image, highest)
        assert confidence is not None
        return classes, confidence[0]


class EvaluationModule(L.LightningModule):
    """Evaluate predictions with Lightning's ``Trainer.validate``.

    Args:
        predictor: maps an image uint8 (3,H,W) and its id to class indices (H,W).
        classes: of the data set.
        boundary, calibration: see :class:`EvaluationAccumulator`; calibration needs a :class:`NetPredictor`.
        further: metrics of the user's, with ``update(prediction, mask)`` and with ``pop()`` to a table of numbers.
    """

    def __init__(
        self,
        predictor: Predictor,
        classes: Classes,
        boundary: bool = False,
        calibration: bool = False,
        further: Any = None,
    ) -> None:
        super().__init__()
        self.predictor: Any = predictor
        self.accumulator = EvaluationAccumulator(classes, boundary, calibration)
        self.further = further
        self.evaluation: Evaluation | None = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images = zip(batch["image"], batch["id"], strict=True)
        if self.accumulator.calibration is None:
            prediction = torch.stack([self.predictor(image, id) for image, id in images])
            self.accumulator.update(prediction, batch["mask"])
        else:
            classes, confidence = zip(*(self.predictor.with_confidence(image) for image, _ in images), strict=True)
            prediction = torch.stack(classes)
            self.accumulator.update(prediction, batch["mask"], torch.stack(confidence))
        if self.further is not None:
            self.further.update(prediction, batch["mask"])

    def on_validation_epoch_end(self) -> None:
        loader: Any = self.trainer.val_dataloaders
        self.evaluation = self.accumulator.pop_result(self.trainer.world_size, len(loader.dataset))
        if self.further is not None and (values := self.further.pop()):
            finite = {name: value if isfinite(value) else nan for name, value in values.items()}  # as JSON takes them
            metrics = {**self.evaluation.metrics, "further_metrics": finite}
            self.evaluation = replace(self.evaluation, metrics=metrics)


def predict_batch(net: SegmentationNet, inference: Inference, images: Tensor) -> Tensor:
    """Return class indices int64 (N,H,W) of images uint8 (N,3,H,W)."""
    return torch.stack([inference.class_map(net, image) for image in images])


def evaluate_split(
    trainer: L.Trainer,
    predictor: Predictor,
    data: SegmentationDataModule,
    split: str,
    boundary: bool = False,
    calibration: bool = False,
    further: Any = None,
) -> Evaluation:
    """Evaluate predictions on a split of a data set, on all processes of the trainer.

    Args:
        predictor, boundary, calibration, further: see :class:`EvaluationModule`.

    Raises:
        SegmentError: no image is left to evaluate, or an image has no group.
    """
    groups = data.image_groups(split)
    data.trainer = trainer
    module = EvaluationModule(predictor, data.classes, boundary, calibration, further)
    trainer.validate(module, data.eval_dataloader(split), verbose=False)
    module.to(trainer.strategy.root_device)  # Lightning moved a net to the CPU, and pictures are made next
    if module.evaluation is None:
        raise SegmentError(f"nothing was evaluated: the split {split} or trainer.limit_val_batches leaves no image")
    return replace(module.evaluation, groups=None if groups is None else groups[: len(module.evaluation.counts)])
