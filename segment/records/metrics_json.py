"""``metrics.json``: the metrics of an evaluation and how they were measured."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segment.errors import SegmentError
from segment.files import whole_file


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Write metrics as JSON in one step; NaN becomes null."""
    with whole_file(path) as file:
        file.write(json.dumps(_without_nan(metrics), indent=2, allow_nan=False) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json``.

    Raises:
        SegmentError: the file cannot be read, or holds no metrics of this package.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise SegmentError(f"cannot read {path.name}: {error}") from None
    if not isinstance(content, dict):
        raise SegmentError(f"{path.name} holds no table of keys and values")
    if not isinstance(content.get("mIoU", ""), float | int | None) or not isinstance(
        content.get("per_class_IoU"), dict
    ):
        raise SegmentError(f"{path.name} holds no metrics of segment.train or segment.evaluate")
    return content


def none_if_nan(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return none_if_nan(value) if isinstance(value, float) else value
