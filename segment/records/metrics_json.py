"""``metrics.json``: the metrics of an evaluation and how they were measured."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Required,  # pydantic takes typing's from Python 3.12 on
)

from annotated_types import Ge, Le, MaxLen
from typing_extensions import TypedDict

from segment.files import whole_file
from segment.records.json_file import read_json

Share = Annotated[float, Ge(0), Le(1)] | None
Number = Annotated[int, Ge(0)] | None
Name = Annotated[str, MaxLen(1000)] | None


class FoldFacts(TypedDict):
    """Fold of a cross-validation that was evaluated, and what all its folds have in common.

    Example:
        >>> folds: FoldFacts = {"number": 5, "fold": 0, "of": "5 folds of train", "images": 367, "files": "0a1b"}
    """

    number: Annotated[int, Ge(2)]
    fold: Annotated[int, Ge(0)]
    of: Name
    images: Number
    files: Name


class Metrics(TypedDict, total=False):
    """The keys of ``metrics.json`` that a report or a sweep reads; others are kept as they are.

    Example:
        >>> metrics: Metrics = {"mIoU": 0.5, "per_class_IoU": {"cat": 0.5, "dog": None}}
    """

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]

    mIoU: Required[Share]
    per_class_IoU: Required[dict[Annotated[str, MaxLen(1000)], Share]]
    pixel_accuracy: Share
    mean_accuracy: Share
    frequency_weighted_IoU: Share
    further_metrics: dict[Annotated[str, MaxLen(1000)], float | None]
    images: Number
    images_trained_on: Number
    data: Name
    split: Name
    precision: Name
    protocol: Name
    files: Name
    root: Name
    folds: FoldFacts
    checkpoint: Name
    checkpoint_digest: Name


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Write metrics as JSON in one step; NaN becomes null."""
    with whole_file(path) as file:
        file.write(json.dumps(_without_nan(metrics), indent=2, allow_nan=False) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json``.

    Raises:
        SegmentError: the file cannot be read, or holds no metrics of this package.
    """
    metrics: dict[str, Any] = read_json(path, Metrics)
    return metrics


def none_if_nan(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return none_if_nan(value) if isinstance(value, float) else value
