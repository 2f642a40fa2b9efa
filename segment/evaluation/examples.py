"""Example images of an evaluation: the choice of images, and their predictions."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from segment.data.dataset import SegmentationDataset
from segment.evaluation.intervals import mean_iou
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference

EXAMPLES = 8
"""Number of images shown of an evaluation."""


class Example(NamedTuple):
    """An image uint8 (H,W,3) with its true and predicted class indices (H,W)."""

    id: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def spread_indices(length: int, count: int = EXAMPLES) -> list[int]:
    """Return the indices of ``count`` images spread evenly over a data set."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).astype(int)).tolist()


def worst_and_best(counts: np.ndarray, dataset: SegmentationDataset, count: int = EXAMPLES) -> dict[str, int]:
    """Return the images with the lowest and the highest mIoU of their own, as names for files and indices.

    Args:
        counts: (N,3,C), see :class:`segment.evaluation.evaluator.Evaluation`.
        dataset: data set of the N images.
        count: number of images; half of them are the worst ones.
    """
    own = mean_iou(counts)
    order = [int(i) for i in np.argsort(own, kind="stable") if not np.isnan(own[i])]
    half = min(count // 2, (len(order) + 1) // 2)
    groups = {"worst": order[:half], "best": order[half:][::-1][: count // 2]}
    return {f"{kind}_{rank}_{dataset.id(i)}": i for kind, chosen in groups.items() for rank, i in enumerate(chosen, 1)}


def predict_examples(
    net: SegmentationNet, inference: Inference, dataset: SegmentationDataset, indices: Iterable[int]
) -> list[Example]:
    """Predict some images of a data set; the net's training mode stays as it was."""
    training = net.training
    net.eval()
    result = make_examples(lambda image, _: inference.class_map(net, image), dataset, indices)
    net.train(training)
    return result


def make_examples(
    predictor: Callable[[Tensor, str], Tensor], dataset: SegmentationDataset, indices: Iterable[int]
) -> list[Example]:
    """Return some images of a data set with their predictions.

    Args:
        predictor: maps an image uint8 (3,H,W) and its id to class indices (H,W).
    """
    items = (dataset[index] for index in indices)
    return [
        Example(
            item["id"],
            item["image"].permute(1, 2, 0).numpy(),
            item["mask"].numpy(),
            predictor(item["image"], item["id"]).cpu().numpy(),
        )
        for item in items
    ]
