"""The table of an evaluation on the terminal."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from segment.files import printable

MANY = 40
"""Number of classes above which the table has two columns of classes instead of bars."""
TITLES = {
    "mIoU": "mean IoU",
    "mIoU_without_background": "  without background",
    "mIoU_things": "  of things",
    "mIoU_stuff": "  of stuff",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_IoU": "frequency weighted IoU",
}
"""Metrics over all classes and their names, in the order of the table."""


def evaluation_table(metrics: Mapping[str, Any]) -> Table:
    """Return a table with the IoU of each class and, below, the metrics over all classes, in per cent.

    Args:
        metrics: the metrics by name, as ``metrics.json`` has them.
    """
    images = f"{metrics['images']} image{'s' * (metrics['images'] != 1)}"
    title = Text(printable(f"IoU on the {metrics['split']} split, {images}, per cent"))
    result = Table(title=title, title_justify="left")
    classes = [(Text(printable(name)), percent(value), value) for name, value in metrics["per_class_IoU"].items()]
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
        for label, shown, value in classes:
            result.add_row(label, shown, "[dim]absent" if value is None else "█" * round(20 * value))
    result.add_section()
    for key, name in TITLES.items():
        if key in metrics:
            beside = interval_text(metrics) if key == "mIoU" else ""
            result.add_row(f"[bold]{name}", f"[bold]{percent(metrics[key])}", beside)
    if "boundary" in metrics:
        result.add_section()
        result.add_row("[bold]boundary IoU", f"[bold]{percent(metrics['boundary']['boundary_IoU'])}")
        for width, band in metrics["boundary"]["trimap"].items():
            result.add_row(f"mean IoU within {width} px", percent(band["mIoU"]), "of a true boundary")
    return result


def percent(value: float | None) -> str:
    """Return a share in 0..1 as per cent; "-" for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def interval_text(metrics: Mapping[str, Any]) -> str:
    """Return the interval of mIoU as text; empty if there is none."""
    interval = metrics.get("mIoU_interval")
    return f"{percent(interval[0])} to {percent(interval[1])} (95 %)" if interval else ""
