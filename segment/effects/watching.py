"""Watching a part of the picture for a class, as a driving aid does it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segment.errors import SegmentError


class WatchedPart(NamedTuple):
    """Share of the watched part that belongs to the chosen classes, and whether it is above the threshold.

    Example:
        >>> alert(np.zeros((1, 4, 3), np.uint8), np.array([[0, 0, 0, 1]]), [1])
        WatchedPart(share=0.25, alert=True)
    """

    share: float
    alert: bool


def alert(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[int],
    polygon: Sequence[Sequence[float]] | None = None,
    threshold: float = 0.01,
) -> WatchedPart:
    """Return the share of a polygon's pixels that belong to the chosen classes.

    Args:
        image: uint8 (H,W,3); not looked at.
        mask: class indices (H,W).
        classes: indices of the classes to watch for.
        polygon: points [x,y] in pixels; a pixel belongs to it if its centre does. None for the whole image.
        threshold: share, from 0 to 1, above which there is an alert.

    Raises:
        SegmentError: the polygon has no pixel within the image, or ``threshold`` is not from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise SegmentError(f"threshold={threshold}: expected a share from 0 to 1")
    part = np.ones(mask.shape, bool) if polygon is None else _inside(polygon, mask.shape)
    if not part.any():
        raise SegmentError(f"polygon={polygon}: it has no pixel of the image, which is {mask.shape[1]}x{mask.shape[0]}")
    share = float(np.isin(mask[part], [*classes]).mean())
    return WatchedPart(share, share > threshold)


def polygon_points(polygon: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the points of a polygon, float64 (N,2).

    Raises:
        SegmentError: it is not a list of three or more points [x,y].
    """
    try:
        points = np.asarray(polygon, float)
        if points.ndim == 2 and points.shape[1] == 2 and len(points) > 2 and np.isfinite(points).all():
            return points
    except (TypeError, ValueError):  # text, or points of different lengths
        pass
    raise SegmentError(f"polygon={polygon}: expected three or more points [x,y]")


def _inside(polygon: Sequence[Sequence[float]], shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels (H,W) whose centres lie within the polygon, by the even-odd rule."""
    points = polygon_points(polygon)
    y, x = np.ogrid[0.5 : shape[0], 0.5 : shape[1]]
    inside = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
