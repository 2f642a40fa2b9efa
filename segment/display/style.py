"""The style of all plots. Background and text have matplotlib's own colours, so that its dark styles serve, too."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

LINE_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Colours that people who are colour-blind can tell apart, on white and on black (Petroff, 2021)."""
STYLE: dict[Any, Any] = {
    "axes.prop_cycle": cycler(color=LINE_COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
}
"""Settings of matplotlib. In a notebook, ``plt.rcParams.update(STYLE)`` gives them to plots of one's own, and
``plt.style.use("dark_background")`` before it makes all plots dark."""

_P = ParamSpec("_P")


def styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Make a function draw its figure in the style of all plots."""

    @wraps(draw)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper
