"""Outlines of masks, exact for the rasteriser that will draw them, and their simplification."""

from itertools import pairwise
from typing import Any, NamedTuple

import contourpy
import numpy as np

CONTOUR_LEVEL = 0.6
"""Height of the contour between pixels of 0 and 1: above 0.5, pixels that touch at a corner alone are two parts.

Two objects could else cross there, each with a part in a hole of the other, and no order of drawing would show both."""


class Ring(NamedTuple):
    """Closed outline of an object or of a hole, without its first point repeated; x and y (n,2).

    Args:
        inside: the object's pixels along the outline. PIL draws an object as their polygon.
        outside: the pixels beyond. PIL draws a hole as their polygon.
        corners: corners of the pixels, where the pixel (0,0) goes from 0 to 1. COCO draws their polygon.
    """

    inside: np.ndarray
    outside: np.ndarray
    corners: np.ndarray


def trace(mask: np.ndarray) -> list[list[Ring]]:
    """Return the rings of each part of a boolean mask (H,W), whose pixels share sides: its outline, then its holes."""
    padded = np.pad(mask, 1).astype(np.float64)
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    filled: Any = generator.filled(CONTOUR_LEVEL, 2.0)
    return [
        [_ring(points[start : end - 1], padded) for start, end in pairwise(ends.tolist())]
        for points, ends in zip(*filled, strict=True)
    ]


def _ring(points: np.ndarray, padded: np.ndarray) -> Ring:
    """Return the ring of a contour, whose points each lie between a pixel of the object and a neighbour beyond."""
    low, high = np.floor(points).astype(int), np.ceil(points).astype(int)
    low_is_inside = padded[low[:, 1], low[:, 0]] > 0
    inside = np.where(low_is_inside[:, None], low, high)
    outside = np.where(low_is_inside[:, None], high, low)
    step = outside - inside
    along = np.stack([-step[:, 1], step[:, 0]], 1)  # the contour goes around objects in this direction
    corners = (2 * inside + 1 + step - along) // 2
    return Ring(inside - 1, outside - 1, corners - 1)  # without the padding


def simplify(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the points of a closed outline that its shape needs (Douglas and Peucker, 1973).

    Args:
        points: whole numbers x and y (n,2).
        tolerance: largest distance in pixels from an outline at which a pixel may be drawn otherwise.
    """
    limit = max(0.0, tolerance - 0.5)  # rasterisers round to whole pixels
    points = points[np.r_[True, (points[1:] != points[:-1]).any(1)]]
    if len(points) < 4:
        return points
    points = np.roll(points, -int(np.lexsort(points.T)[0]), 0)  # begin at a corner
    far = int(np.hypot(*(points - points[0]).T).argmax())
    closed = np.concatenate([points, points[:1]])
    kept = np.zeros(len(closed), bool)
    kept[[0, far, -1]] = True
    waiting = [(0, far), (far, len(points))]
    while waiting:
        start, end = waiting.pop()
        if end - start < 2:
            continue
        distances = _distances(closed[start + 1 : end], closed[start], closed[end])
        at = int(distances.argmax())
        if distances[at] > limit:
            middle = start + 1 + at
            kept[middle] = True
            waiting += [(start, middle), (middle, end)]
    return closed[:-1][kept[:-1]]


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of each point from the segment between two points."""
    line = (end - start).astype(np.float64)
    length = line @ line
    along = np.clip((points - start) @ line / length, 0, 1) if length else np.zeros(len(points))
    return np.hypot(*(points - start - along[:, None] * line).T)
