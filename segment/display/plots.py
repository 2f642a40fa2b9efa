"""Plots: training curves, confusion matrix, class shares, and score against cost."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from segment.display.escapes import escape_figure
from segment.display.style import LINE_COLOURS, styled

NUMBERED = 30
"""Number of classes up to which a confusion matrix shows its numbers."""
MARKERS = "osD^v"
"""Markers of the nets in the plot of score against cost."""
LEGEND_WIDTH = 75
"""Number of characters in a line of that plot's legend."""


@styled
def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot training loss and validation mIoU over the steps.

    Args:
        rows: logged values, each row with ``step`` and, where logged, ``train/loss`` and ``val/mIoU``.
    """

    def column(name: str) -> tuple[list[int], list[float]]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        return [step for step, _ in points], [value for _, value in points]

    figure = Figure(figsize=(8, 4), layout="constrained")
    left = figure.subplots()
    left.plot(*column("train/loss"), color=LINE_COLOURS[0], alpha=0.8)
    left.set_xlabel("step")
    left.set_ylabel("training loss", color=LINE_COLOURS[0])
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.plot(*column("val/mIoU"), color=LINE_COLOURS[1], marker="o")
    right.set_ylabel("validation mIoU", color=LINE_COLOURS[1])
    right.set_ylim(0, 1)
    return figure


@styled
def range_test_curve(
    rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], chosen: float | None
) -> Figure:
    """Plot the loss over the learning rate of a range test.

    Args:
        rates, losses: of each step.
        smooth: smoothed losses, empty for none.
        chosen: the learning rate to mark; None for none.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot(rates, losses, color=LINE_COLOURS[0], alpha=0.4, label="each step")
    if len(smooth):
        axis.plot(rates, smooth, color=LINE_COLOURS[0], label="smoothed")
    if chosen is not None:
        axis.axvline(chosen, color=LINE_COLOURS[1], label=f"optimizer.lr={chosen:.2g}")
    axis.set(xscale="log", xlabel="optimizer.lr", ylabel="training loss")
    axis.set_ylim(bottom=0, top=2 * max(losses[0], 1e-9) if losses[0] > 0 else None)
    axis.legend()
    return figure


@styled
def confusion_matrix(confusion: np.ndarray, names: Sequence[str]) -> Figure:
    """Plot a confusion matrix: each row is a true class in shares of its pixels, grey where the class is absent.

    Args:
        confusion: (C,C), counted pixels by true class (rows) and predicted class (columns).
        names: names of the classes.
    """
    total = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, total, out=np.full(confusion.shape, np.nan), where=total > 0)
    count = len(names)
    cell, font = (max(0.42, 3 / count), 8) if count <= NUMBERED else (0.14, 6)  # inches, points
    figure = Figure(figsize=(3 + cell * count, 2 + cell * count), layout="constrained")
    axis = figure.subplots()
    axis.set_facecolor("lightgrey")
    norm = PowerNorm(0.5, 0, 1)  # makes a few per cent of a class visible
    picture = axis.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    labels = [*map(escape_figure, names)]
    axis.set_xticks(range(count), labels, rotation=90, fontsize=font)
    axis.set_yticks(range(count), labels, fontsize=font)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    if count <= NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.4 else "black"
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(
        picture, shrink=0.6, label="per cent of the true class's pixels", format=lambda share, _: f"{100 * share:.0f}"
    )
    return figure


@styled
def reliability_diagram(bins: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot the accuracy of each bin of confidence beside the diagonal, on which a calibrated net lies.

    Args:
        bins: each with its ``pixels``, ``confidence`` and ``accuracy``, the last two None where it is empty.
    """
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    edges = np.arange(len(bins)) / len(bins)
    upper.bar(edges, [part["accuracy"] or 0 for part in bins], 1 / len(bins), align="edge", edgecolor="white")
    found = [(part["confidence"], part["accuracy"]) for part in bins if part["pixels"]]
    upper.plot(*zip(*found, strict=True) if found else ([], []), "o", color=LINE_COLOURS[1], label="mean confidence")
    upper.plot([0, 1], [0, 1], "--", color="grey", label="calibrated")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    upper.legend()
    total = max(1, sum(part["pixels"] for part in bins))
    lower.bar(edges, [part["pixels"] / total for part in bins], 1 / len(bins), align="edge", color="grey")
    lower.set(xlabel="confidence", ylabel="share of pixels")
    return figure


@styled
def class_shares(shares: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """Plot each class's share of the pixels as bars, on a logarithmic scale that shows rare classes.

    Args:
        shares: by split, a share in 0..1 for each of ``names``.
        names: names of the classes.
    """
    figure = Figure(figsize=(8, 1.2 + 0.2 * len(names) * max(1, len(shares)) ** 0.5), layout="constrained")
    axis = figure.subplots()
    thickness = 0.8 / max(1, len(shares))
    for position, (split, values) in enumerate(shares.items()):
        axis.barh(np.arange(len(names)) + position * thickness, values, thickness, label=split)
    axis.set_yticks(np.arange(len(names)) + 0.4 - thickness / 2, [*map(escape_figure, names)], fontsize=8)
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.set_xscale("log")
    axis.set_xlabel("share of the pixels (logarithmic)")
    axis.set_xlim(left=min(1e-3, min(v for values in shares.values() for v in values if v) / 2), right=1)
    figure.legend(loc="outside upper right", ncols=len(shares), frameon=False)
    return figure


class CostPoint(NamedTuple):
    """A net in the plot of score against cost.

    Attributes:
        label: text in the legend.
        cost, score: coordinates.
        interval: ends of the interval of the score; None if there is none.
    """

    label: str
    cost: float
    score: float
    interval: tuple[float, float] | None = None


@styled
def score_against_cost(points: Sequence[CostPoint], cost: str, score: str, title: str = "") -> Figure:
    """Plot each net's score over its cost, with bars for its interval; the legend begins with the best net.

    Args:
        points: the nets, at least one.
        cost, score: labels of the axes.
        title: text above the plot.
    """
    ranked = sorted(points, key=lambda point: -point.score)
    labels = {point: textwrap.fill(escape_figure(point.label), LEGEND_WIDTH) for point in ranked}
    lines = "\n".join(labels.values()).count("\n") + 1
    figure = Figure(figsize=(5.5, 3.8 + 0.17 * lines), layout="constrained")
    axis = figure.subplots()
    for index, (point, label) in enumerate(labels.items()):
        marker = MARKERS[index // len(LINE_COLOURS) % len(MARKERS)]
        # A mean over seeds of different images may lie outside of an interval over those that all seeds share.
        ends = point.interval and [[max(0, point.score - point.interval[0])], [max(0, point.interval[1] - point.score)]]
        axis.errorbar(
            point.cost,
            point.score,
            ends,
            fmt=marker,
            color=LINE_COLOURS[index % len(LINE_COLOURS)],
            capsize=3,
            label=label,
        )
    axis.margins(x=0.2, y=0.2)
    axis.set_ylim(bottom=max(0, axis.get_ylim()[0]))
    costs = [point.cost for point in points]
    if max(costs) > 3 * min(costs):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter("{x:g}")
    else:  # from zero, or the noise of equal times would look like a difference
        axis.set_xlim(0, 1.25 * max(costs))
    axis.grid(alpha=0.3)
    axis.set_xlabel(cost)
    axis.set_ylabel(score)
    axis.set_title(textwrap.fill(escape_figure(title), LEGEND_WIDTH), fontsize=9)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    return figure
