"""The table of an evaluation that a user reads."""

import itertools
import math
from typing import Any

from rich.markup import escape
from rich.table import Table

MANY = 40
"""Classes that are more than this stand in two columns, without bars."""
FIGURES = {
    "mIoU": "mean IoU",
    "mIoU_without_background": "  without background",
    "mIoU_things": "  of things",
    "mIoU_stuff": "  of stuff",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_IoU": "frequency weighted IoU",
}


def table(metrics: dict[str, Any]) -> Table:
    """Per-class IoU, and the figures over all classes below, in per cent."""
    images = f"{metrics['images']} image{'s' * (metrics['images'] != 1)}"
    result = Table(title=f"IoU on the {metrics['split']} split, {images}, per cent", title_justify="left")
    classes = [(escape(name), percent(value), value) for name, value in metrics["per_class_IoU"].items()]
    result.add_column("class")
    result.add_column("IoU", justify="right")
    if len(classes) > MANY:
        result.add_column("class")
        result.add_column("IoU", justify="right")
        half = (len(classes) + 1) // 2
        for left, right in itertools.zip_longest(classes[:half], classes[half:], fillvalue=("", "", None)):
            result.add_row(*left[:2], *right[:2])
    else:
        result.add_column("", min_width=20)
        for name, shown, value in classes:
            result.add_row(name, shown, "[dim]absent" if value is None else "█" * round(20 * value))
    result.add_section()
    for key, name in FIGURES.items():
        if key in metrics:
            result.add_row(f"[bold]{name}", f"[bold]{percent(metrics[key])}", margin(metrics) if key == "mIoU" else "")
    if "boundary" in metrics:
        result.add_section()
        result.add_row("[bold]boundary IoU", f"[bold]{percent(metrics['boundary']['boundary_IoU'])}")
        for width, figures in metrics["boundary"]["trimap"].items():
            result.add_row(f"mean IoU within {width} px", percent(figures["mIoU"]), "of a true boundary")
    return result


def percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def margin(metrics: dict[str, Any]) -> str:
    """The interval of mIoU in words."""
    low, high = metrics.get("mIoU_interval", (math.nan, math.nan))
    return "" if math.isnan(low) else f"{percent(low)} to {percent(high)} (95 %)"
