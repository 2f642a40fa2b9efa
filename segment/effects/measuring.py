"""Area, number and diameter of the connected regions of a class, as diagnosis needs them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from segment.errors import SegmentError


class MeasuredRegion(NamedTuple):
    """A connected region of a class.

    Args:
        label: index of the class.
        number: counts the regions of the class from 1, the largest first.
        area: in pixels, or in square units of the scale.
        diameter: of the circle of the same area.
        length: largest distance of two points of the region, corners of pixels included.
        x, y: centre of gravity, in pixels from the upper left corner.

    Example:
        >>> [region] = measure(np.zeros((2, 3, 3), np.uint8), np.array([[0, 1, 1], [0, 0, 0]]), [1])
        >>> region.area, region.x, region.y
        (2.0, 2.0, 0.5)
    """

    label: int
    number: int
    area: float
    diameter: float
    length: float
    x: float
    y: float


def measure(
    image: np.ndarray, mask: np.ndarray, classes: Sequence[int], scale: float = 1.0, min_area: int = 1
) -> list[MeasuredRegion]:
    """Return the connected regions of the chosen classes; pixels that touch at a corner are connected.

    Args:
        image: uint8 (H,W,3); not looked at.
        mask: class indices (H,W).
        classes: indices of the classes to measure.
        scale: length of a pixel's side, such as 0.25 for 0.25 mm.
        min_area: regions of fewer pixels are left out.

    Raises:
        SegmentError: ``scale`` is not above 0.
    """
    if not (scale > 0 and 0 < scale * scale < np.inf):  # an area, too, is a number
        raise SegmentError(f"scale={scale}: expected the length of a pixel's side, above 0")
    return [region for label in classes for region in _regions(mask == label, label, scale, min_area)]


def _regions(chosen: np.ndarray, label: int, scale: float, min_area: int) -> list[MeasuredRegion]:
    numbers, _ = ndimage.label(chosen, np.ones((3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(numbers), 1):
        rows, columns = np.nonzero(numbers[box] == number)
        if len(rows) < min_area:
            continue
        area = len(rows) * scale**2
        y, x = rows.mean() + box[0].start + 0.5, columns.mean() + box[1].start + 0.5
        diameter, length = 2 * np.sqrt(area / np.pi), _length(rows, columns) * scale
        found.append(MeasuredRegion(label, 0, float(area), float(diameter), length, float(x), float(y)))
    found.sort(key=lambda region: -region.area)
    return [region._replace(number=number) for number, region in enumerate(found, 1)]


def _length(rows: np.ndarray, columns: np.ndarray) -> float:
    """Return the largest distance, in pixels, between corners of the pixels at these places.

    They are sorted by row, then column. The ends of each row are enough: a large region has millions of pixels.
    """
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    ends = np.concatenate([first, np.append(first[1:], len(rows)) - 1])
    pixels = np.stack([rows[ends], columns[ends]], 1)
    corners = np.concatenate([pixels + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    return float(pdist(corners[ConvexHull(corners).vertices]).max())
