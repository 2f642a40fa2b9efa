"""Figures: images beside truth and predictions."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from segment.data.classes import IGNORE, Classes
from segment.display.colours import class_colours
from segment.display.escapes import escape_figure
from segment.display.style import styled
from segment.files import whole_file


def example_figure(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: Classes, title: str = ""
) -> Figure:
    """Draw image, truth and prediction side by side, with a legend of the classes that occur.

    Args:
        image: uint8 (H,W,3) RGB.
        truth, prediction: class indices (H,W); 255 in ``truth`` is void.
    """
    figure = side_by_side([(image, truth, prediction)], ("image", "truth", "prediction"), classes, panel=4.0)
    if title:
        figure.suptitle(escape_figure(title))
    return figure


@styled
def side_by_side(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], classes: Classes, panel: float = 2.0
) -> Figure:
    """Draw each image beside its masks, as in figure 6 of Long et al. (2015), with a legend.

    Args:
        rows: for each image, uint8 (H,W,3) RGB followed by masks of class indices (H,W), of which 255 is void, or by
            further images.
        titles: titles of the columns.
        panel: width of one picture, in inches.
    """
    ratios = [min(row[0].shape[0] / row[0].shape[1], 1.6) for row in rows]
    colours = class_colours(classes)
    seen = sorted(set().union(*(np.unique(one).tolist() for row in rows for one in row if one.ndim == 2)))
    legend = [
        Patch(
            facecolor=tuple(colours[label] / 255),
            edgecolor="grey",
            label="void" if label == IGNORE else escape_figure(classes.names[label]),
        )
        for label in seen
    ]
    width = panel * len(titles)
    per_line = max(1, min(len(legend), 8, int(width / 1.4)))
    lines = -(-len(legend) // per_line)
    height = 0.96 * panel * sum(ratios) + 0.08 * len(rows) + 0.4 + 0.2 * lines
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    figure = Figure(figsize=(width, height), layout=layout)
    axes = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": ratios})
    for line, row in zip(axes, rows, strict=True):
        for axis, one in zip(line, row, strict=True):
            axis.imshow(one if one.ndim == 3 else colours[one], interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(textwrap.fill(escape_figure(title), int(panel * 11)), fontsize=10)
    figure.legend(handles=legend, loc="outside lower center", ncols=per_line, frameon=False, fontsize=9)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Write a figure in the format of the path's suffix, in one step, without pyplot's global state."""
    FigureCanvasAgg(figure)
    with whole_file(path, "wb") as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
