"""The plot of figure against cost."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox


class Point(NamedTuple):
    """A net in the plot of figure against cost; ``spread`` is the standard deviation over seeds, 0 of a single one."""

    label: str
    cost: float
    figure: float
    spread: float


def against_cost(points: Sequence[Point], cost: str, figure: str) -> Figure:
    """Each net's figure over its cost, with bars for the spread over seeds."""
    picture = Figure(figsize=(5.5, 3.8), layout="constrained")
    FigureCanvasAgg(picture)
    axis = picture.subplots()
    for index, point in enumerate(points):
        spread = point.spread or None
        axis.errorbar(point.cost, point.figure, spread, fmt="o", markersize=5, capsize=3, color=f"C{index}")
    axis.margins(x=0.2, y=0.2)
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
    axis.set_ylabel(figure)
    place_labels(axis, points)
    return picture


def place_labels(axis: Axes, points: Sequence[Point]) -> list[Bbox]:
    """Write each point's label where it covers nothing; further off than usual, with a line to its point.

    Returns:
        Where the labels are, in pixels of the figure.
    """
    picture: Any = axis.figure
    picture.draw_without_rendering()  # the axes find their place
    picture.set_layout_engine("none")  # and keep it
    renderer = picture.canvas.get_renderer()
    taken = []
    for point in points:
        (x, low), (_, high) = axis.transData.transform([(point.cost, point.figure + s * point.spread) for s in (-1, 1)])
        taken.append(Bbox.from_extents(x - 5, low - 5, x + 5, high + 5))
    for index, point in enumerate(points):
        label: Any = None
        for radius, angle in itertools.product((8, 14, 22, 32, 44, 58, 74, 92, 112), range(0, 360, 15)):
            if label is not None:
                label.remove()
            x, y = radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))
            label = axis.annotate(
                point.label,
                (point.cost, point.figure),
                (x, y),
                textcoords="offset points",
                ha="left" if x > 1 else "right" if x < -1 else "center",
                va="center" if abs(y) < 1 else "bottom" if y > 0 else "top",
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": f"C{index}", "alpha": 0.5} if radius > 14 else None,
            )
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)  # without the line
            inside = axis.bbox.containsx(box.x0) and axis.bbox.containsx(box.x1)
            inside = inside and axis.bbox.containsy(box.y0) and axis.bbox.containsy(box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
    return taken[len(points) :]
