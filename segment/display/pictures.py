"""Pictures: overlays, images beside truth and predictions, curves and plots."""

import csv
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from PIL import Image

from segment.data.classes import IGNORE, Classes
from segment.files import whole_file

BACKGROUND = "background"
"""The class that an overlay leaves as it is."""


def palette_image(mask: np.ndarray, classes: Classes) -> Image.Image:
    """Class indices (H,W) as a palette PNG: the indices themselves, shown in the classes' colours."""
    image = Image.fromarray(mask.astype(np.uint8), mode="L")
    image.putpalette(classes.flat_palette())  # turns mode L into P
    return image


def overlay(image: np.ndarray, mask: np.ndarray, classes: Classes, opacity: float = 0.55) -> np.ndarray:
    """The classes' colours over an RGB image uint8 (H,W,3); background and void stay clear."""
    strength = np.full((256, 1), opacity, np.float32)
    strength[IGNORE] = 0
    if BACKGROUND in classes.names:
        strength[classes.names.index(BACKGROUND)] = 0
    colours = np.array(classes.flat_palette(), np.float32).reshape(256, 3) * strength + 0.5  # to round
    result = np.empty_like(image)
    for row in range(0, len(image), 32):  # an image of 24 million pixels as floats would take gigabytes
        part = mask[row : row + 32]
        result[row : row + 32] = image[row : row + 32] * (1 - strength)[part] + colours[part]
    return result


def comparison(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: Classes, title: str = ""
) -> Figure:
    """Image, truth and prediction side by side, with a legend of the classes that occur.

    Args:
        image: uint8 (H,W,3) RGB.
        truth, prediction: class indices (H,W); 255 in ``truth`` is void.
    """
    figure = side_by_side([(image, truth, prediction)], ("image", "truth", "prediction"), classes, panel=4.0)
    if title:
        figure.suptitle(title)
    return figure


def side_by_side(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], classes: Classes, panel: float = 2.0
) -> Figure:
    """Images, each beside masks of it, as in figure 6 of Long et al. (2015), with a legend of the classes that occur.

    Args:
        rows: for each image itself, uint8 (H,W,3) RGB, and class indices (H,W); 255 is void.
        titles: of the columns.
        panel: width of one picture, in inches.
    """
    ratios = [min(row[0].shape[0] / row[0].shape[1], 1.6) for row in rows]
    colours = np.array(classes.flat_palette(), np.uint8).reshape(256, 3)
    seen = sorted(set().union(*(np.unique(mask).tolist() for row in rows for mask in row[1:])))
    legend = [
        Patch(
            facecolor=tuple(colours[label] / 255),
            edgecolor="grey",
            label="void" if label == IGNORE else classes.names[label],
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
        for axis, picture in zip(line, (row[0], *(colours[mask] for mask in row[1:])), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(textwrap.fill(title, int(panel * 11)), fontsize=10)
    figure.legend(handles=legend, loc="outside lower center", ncols=per_line, frameon=False, fontsize=9)
    return figure


def curves(metrics: Path) -> Figure:
    """Training loss and validation mIoU over the steps, from Lightning's ``metrics.csv``."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> tuple[list[int], list[float]]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        return [step for step, _ in points], [value for _, value in points]

    figure = Figure(figsize=(8, 4), layout="constrained")
    left = figure.subplots()
    left.plot(*column("train/loss"), color="tab:blue", alpha=0.8)
    left.set_xlabel("step")
    left.set_ylabel("training loss", color="tab:blue")
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.plot(*column("val/mIoU"), color="tab:orange", marker="o")
    right.set_ylabel("validation mIoU", color="tab:orange")
    right.set_ylim(0, 1)
    return figure


def confusion_matrix(confusion: np.ndarray, names: Sequence[str]) -> Figure:
    """What became of each class's pixels: a row for each true class, in shares of its pixels; absent ones are grey.

    Args:
        confusion: (C,C), counted pixels by true class (rows) and predicted class (columns).
    """
    total = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, total, out=np.full(confusion.shape, np.nan), where=total > 0)
    count = len(names)
    cell, font = (max(0.42, 3 / count), 8) if count <= 30 else (0.14, 6)  # inches, points
    figure = Figure(figsize=(3 + cell * count, 2 + cell * count), layout="constrained")
    axis = figure.subplots()
    axis.set_facecolor("lightgrey")
    norm = PowerNorm(0.5, 0, 1)  # a few per cent of a class are worth seeing, too
    picture = axis.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    axis.set_xticks(range(count), names, rotation=90, fontsize=font)
    axis.set_yticks(range(count), names, fontsize=font)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    if count <= 30:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.4 else "black"
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(
        picture, shrink=0.6, label="per cent of the true class's pixels", format=lambda share, _: f"{100 * share:.0f}"
    )
    return figure


def class_shares(shares: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """Bars of each class's share of a split's pixels, on a logarithmic scale: rare classes are what one looks for.

    Args:
        shares: by split, in 0..1, one for each of ``names``.
    """
    figure = Figure(figsize=(8, 1.2 + 0.2 * len(names) * max(1, len(shares)) ** 0.5), layout="constrained")
    axis = figure.subplots()
    thickness = 0.8 / max(1, len(shares))
    for position, (split, values) in enumerate(shares.items()):
        axis.barh(np.arange(len(names)) + position * thickness, values, thickness, label=split)
    axis.set_yticks(np.arange(len(names)) + 0.4 - thickness / 2, names, fontsize=8)
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.set_xscale("log")
    axis.set_xlabel("share of the pixels (logarithmic)")
    axis.set_xlim(left=min(1e-3, min(v for values in shares.values() for v in values if v) / 2), right=1)
    axis.legend()
    return figure


def save(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Write a figure as its suffix says, in one move; without pyplot, so that no global state is touched."""
    FigureCanvasAgg(figure)
    with whole_file(path, "wb") as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
