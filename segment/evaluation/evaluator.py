"""Evaluation of a net on a split: counting over all images and processes, and the result."""

from dataclasses import dataclass
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
from segment.evaluation.metrics import SegmentationScores, confusion_metrics
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation over all images and processes.

    Attributes:
        metrics: see :func:`segment.evaluation.metrics.confusion_metrics`; with ``boundary``, if it was measured.
        confusion: int64 (C,C), counted pixels by true class (rows) and predicted class (columns).
        counts: int64 (N,3,C), correct, true and predicted pixels of each image, in the data set's order.
        classes: names and colours of the C classes.

    Example:
        >>> counts = np.array([[[4], [4], [4]]])
        >>> Evaluation({"mIoU": 1.0}, counts[0, :1], counts, Classes(("a",), ((0, 0, 0),))).metrics["mIoU"]
        1.0
    """

    metrics: dict[str, Any]
    confusion: np.ndarray
    counts: np.ndarray
    classes: Classes


class EvaluationAccumulator(nn.Module):
    """Count predictions against the truth, and merge the counts of all processes.

    Args:
        classes: classes of the data set.
        boundary: whether the metrics of boundaries are measured, too.

    Example:
        >>> accumulator = EvaluationAccumulator(Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
        >>> accumulator.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 1]]]))
        >>> accumulator.result(world_size=1, images=1).metrics["mIoU"]
        1.0
    """

    def __init__(self, classes: Classes, boundary: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.scores = SegmentationScores(len(classes))
        self.boundary = BoundaryScores(len(classes)) if boundary else None

    def update(self, prediction: Tensor, mask: Tensor) -> None:
        """Count class indices (N,H,W) against labels (N,H,W), where 255 is ignored."""
        self.scores.update(prediction, mask)
        if self.boundary is not None:
            self.boundary.update(prediction, mask)

    def result(self, world_size: int, images: int) -> Evaluation:
        """Merge the counts of all processes, and reset them. All processes have to call this.

        Args:
            world_size: number of processes.
            images: number of images in the split.
        """
        with self.scores.sync_context():  # inside, the metric's state is that of all processes
            confusion, counts = self.scores.confmat.cpu(), self.scores.per_image().cpu().numpy()
        self.scores.reset()
        metrics = confusion_metrics(confusion)
        if self.boundary is not None:
            metrics["boundary"] = self.boundary.compute()
            self.boundary.reset()
        return Evaluation(metrics, confusion.numpy(), in_order(counts, world_size, images), self.classes)


class EvaluationModule(L.LightningModule):
    """Evaluate a net with Lightning's ``Trainer.validate``.

    Args:
        net: a net in evaluation mode.
        classes: of the data set.
        inference: the protocol by which the net segments an image.
        boundary: whether the metrics of outlines are measured, too.
    """

    def __init__(self, net: SegmentationNet, classes: Classes, inference: Inference, boundary: bool = False) -> None:
        super().__init__()
        self.net, self.inference = net, inference
        self.accumulator = EvaluationAccumulator(classes, boundary)
        self.evaluation: Evaluation | None = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.accumulator.update(predict_batch(self.net, self.inference, batch["image"]), batch["mask"])

    def on_validation_epoch_end(self) -> None:
        loader: Any = self.trainer.val_dataloaders
        self.evaluation = self.accumulator.result(self.trainer.world_size, len(loader.dataset))


def predict_batch(net: SegmentationNet, inference: Inference, images: Tensor) -> Tensor:
    """Return class indices int64 (N,H,W) of images uint8 (N,3,H,W)."""
    return torch.stack([inference.class_map(net, image) for image in images])


def evaluate_split(
    trainer: L.Trainer,
    net: SegmentationNet,
    data: SegmentationDataModule,
    split: str,
    inference: Inference,
    boundary: bool = False,
) -> Evaluation:
    """Evaluate a net on a split of a data set, on all processes of the trainer.

    Raises:
        SegmentError: no image is left to evaluate.
    """
    data.trainer = trainer
    module = EvaluationModule(net, data.classes, inference, boundary)
    trainer.validate(module, data.eval_dataloader(split), verbose=False)
    net.to(trainer.strategy.root_device)  # Lightning moved it to the CPU, and pictures are made next
    if module.evaluation is None:
        raise SegmentError(f"nothing was evaluated: the split {split} or trainer.limit_val_batches leaves no image")
    return module.evaluation
