"""The table of an evaluation on the terminal."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from segment.files import printable

MANY = 40
"""Number of classes above which the table has two columns of classes with their IoU alone."""
TITLES = {
    "mIoU": "mean IoU",
    "mIoU_without_background": "  without background",
    "mIoU_things": "  of things",
    "mIoU_stuff": "  of stuff",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_IoU": "freq. weighted IoU",
}
"""Metrics over all classes and their names, in the order of the table."""
PER_CLASS = {"prec.": "precision", "recall": "recall", "Dice": "Dice"}
"""Metrics of each class beside its IoU, by heading."""
BAR = 19
"""Length of the bar of an IoU of 100 per cent: the table has 80 columns."""


def evaluation_table(metrics: Mapping[str, Any]) -> Table:
    """Return a table with the IoU of each class and, below, the metrics over all classes, in per cent.

    Args:
        metrics: the metrics by name, as ``metrics.json`` has them.
    """
    images = f"{metrics['images']} image{'s' * (metrics['images'] != 1)}"
    title = Text(printable(f"IoU on the {metrics['split']} split, {images}, per cent"))
    result = Table(title=title, title_justify="left")
    shown = {name: (Text(printable(name)), percent(value)) for name, value in metrics["per_class_IoU"].items()}
    headings = ("class", "IoU") * 2 if len(shown) > MANY else ("class", "IoU", *PER_CLASS, "")
    for heading in headings:
        result.add_column(heading, justify="left" if heading in {"class", ""} else "right")
    if len(shown) > MANY:
        classes, half = list(shown.values()), (len(shown) + 1) // 2
        for left, right in itertools.zip_longest(classes[:half], classes[half:], fillvalue=("", "")):
            result.add_row(*left, *right)
    else:
        for name, cells in shown.items():
            others = [percent(metrics[f"per_class_{metric}"][name]) for metric in PER_CLASS.values()]
            value = metrics["per_class_IoU"][name]
            result.add_row(*cells, *others, "[dim]absent" if value is None else "█" * round(BAR * value))
    result.add_section()
    between = [""] * (len(headings) - 3)
    for key, name in TITLES.items():
        if key in metrics:
            beside = interval_text(metrics) if key == "mIoU" else ""
            result.add_row(f"[bold]{name}", f"[bold]{percent(metrics[key])}", *between, beside)
    for name, value in metrics.get("further_metrics", {}).items():
        result.add_row(Text(printable(name), style="bold"), "-" if value is None else f"{value:.4g}")
    if "calibration" in metrics:
        error = metrics["calibration"]["expected_calibration_error"]
        result.add_row("[bold]calibration error", f"[bold]{percent(error)}", *between, "of the confidence")
    if "boundary" in metrics:
        result.add_section()
        result.add_row("[bold]boundary IoU", f"[bold]{percent(metrics['boundary']['boundary_IoU'])}")
        for width, band in metrics["boundary"]["trimap"].items():
            result.add_row(f"mean IoU within {width} px", percent(band["mIoU"]), *between, "of a true boundary")
    return result


def percent(value: float | None) -> str:
    """Return a share in 0..1 as per cent; "-" for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def interval_text(metrics: Mapping[str, Any]) -> str:
    """Return the interval of mIoU as text; empty if there is none."""
    interval = metrics.get("mIoU_interval")
    return f"{percent(interval[0])} to {percent(interval[1])} (95 %)" if interval else ""
