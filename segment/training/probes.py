"""Trials of the user's own losses and metrics before a run begins, and the metrics that are logged beside ours."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from segment.data.classes import IGNORE
from segment.errors import SegmentError
from segment.training.checks import MONITORS

SIDE = 32
"""Side of the image that a loss and a metric are tried on, in pixels."""


def check_loss(loss: Any, classes: int) -> None:
    """Try a loss on some small images with ignored pixels.

    Args:
        loss: maps scores (N,C,H,W) and labels int64 (N,H,W) to a number.
        classes: C.

    Raises:
        SegmentError: it fails, does not return one number with a gradient, or has parameters, which nothing trains.
    """
    name = type(loss).__name__
    if not isinstance(loss, nn.Module):
        raise SegmentError(f"loss builds a {name}, expected a torch.nn.Module")
    if any(parameter.requires_grad for parameter in loss.parameters()):
        raise SegmentError(f"loss: {name} has parameters, which no optimiser trains: use a loss without parameters")
    images = 3 if classes == 2 else 2  # as many as classes would hide that a loss takes no labels
    scores = torch.zeros(images, classes, SIDE, SIDE, requires_grad=True)
    labels = torch.zeros(images, SIDE, SIDE).long()
    labels[..., 0] = IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that on broadcasting, which the error below names
            value = copy.deepcopy(loss)(scores, labels)
    except SegmentError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise SegmentError(
            f"loss: {name} fails on scores {tuple(scores.shape)} and labels int64 {tuple(labels.shape)}, in which 255 "
            f"is ignored: {_reason(error)}"
        ) from error
    if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
        raise SegmentError(
            f"loss: {name} returns {_form(value)}, expected one number: a tensor without axes, which depends on the "
            "scores by a gradient"
        )


class FurtherMetrics(nn.Module):
    """Metrics of torchmetrics beside ours, each with the name by which it is logged.

    Args:
        metrics: each is updated with class indices and labels, both int64 (N,H,W), in which 255 is ignored.

    Raises:
        SegmentError: one is no metric, has the name of one of ours, fails, or gives no number.

    Example:
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> metrics = FurtherMetrics({"accuracy": MulticlassAccuracy(2, average="micro")})
        >>> metrics.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]))
        >>> metrics.pop()
        {'accuracy': 0.5}
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        super().__init__()
        self.names, self.parts = [*metrics], nn.ModuleList()
        for name, metric in metrics.items():
            if not isinstance(metric, Metric | MetricCollection):
                raise SegmentError(f"metrics.{name} is a {type(metric).__name__}, expected a torchmetrics.Metric")
            if f"val/{name}" in MONITORS:
                raise SegmentError(f"metrics.{name} has the name of a metric of this package: choose another name")
            self.parts.append(metric)
        trial = copy.deepcopy(self) if metrics else self
        trial.update(*torch.zeros(2, 1, SIDE, SIDE).long())
        trial.pop()

    def _named(self) -> list[tuple[str, Any]]:
        return [*zip(self.names, self.parts, strict=True)]

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Count class indices (N,H,W) and labels (N,H,W).

        Raises:
            SegmentError: a metric fails.
        """
        for name, metric in self._named():
            try:
                metric.update(prediction, labels.long())
            except Exception as error:  # the user's code may raise anything
                raise SegmentError(
                    f"metrics.{name}: {type(metric).__name__} fails on class indices and labels int64 "
                    f"{tuple(labels.shape)}, in which 255 is ignored (ignore_index=255): {_reason(error)}"
                ) from error

    def pop(self) -> dict[str, float]:
        """Return the values over all images of all processes by name, and begin anew.

        Raises:
            SegmentError: a metric fails, or its value is no number.
        """
        found: dict[str, Any] = {}
        for name, metric in self._named():
            try:
                value = metric.compute()
            except Exception as error:  # likewise
                raise SegmentError(f"metrics.{name}: {type(metric).__name__} has no value: {_reason(error)}") from error
            metric.reset()
            found |= (
                {f"{name}/{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
            )
        for name, value in found.items():
            if not isinstance(value, int | float) and not (isinstance(value, Tensor) and value.numel() == 1):
                raise SegmentError(
                    f"metrics.{name} gives {_form(value)}, expected one number; of values for each class, "
                    "average=macro gives the mean"
                )
        return {name: float(value) for name, value in found.items()}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _form(value: Any) -> str:
    """Describe a value that is not the expected number."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"a tensor of shape {tuple(value.shape)}" if value.ndim else "a number without a gradient"
