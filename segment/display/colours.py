"""Colours of classes as they are shown: those of the data set's palette, unless two of them look alike."""

from functools import lru_cache
from itertools import product

import numpy as np

from segment.data.classes import IGNORE, VOID_COLOUR, Classes

ALIKE = 15.0
"""Distance in CIELAB below which two colours look alike: VOC's bus and motorbike have 9, road and wall of ADE20K 8."""
LEVELS = (0, 40, 85, 130, 170, 212, 255)
"""Values of red, green and blue of the colours that replace others."""


@lru_cache(maxsize=8)
def class_colours(classes: Classes) -> np.ndarray:
    """Return the colours uint8 (256,3) in which labels are shown; label 255 has VOC's void colour.

    A colour that looks like that of an earlier class, or of void, is replaced by the one that differs most from all
    others. Masks keep the colours of the data set.
    """
    colours = np.array(classes.flat_palette(), np.uint8).reshape(256, 3)
    shown = np.concatenate([colours[: len(classes)], [VOID_COLOUR]])
    positions = _lab(shown)
    kept, alike = [len(classes)], list[int]()
    for label in range(len(classes)):
        near = np.linalg.norm(positions[kept] - positions[label], axis=1).min() < ALIKE
        (alike if near else kept).append(label)
    choices = np.array([*product(LEVELS, repeat=3)], np.uint8)
    places = _lab(choices)
    distance = np.linalg.norm(places[:, None] - positions[kept], axis=2).min(1)
    for label in alike:
        best = int(distance.argmax())
        colours[label] = choices[best]
        distance = np.minimum(distance, np.linalg.norm(places - places[best], axis=1))
    colours[IGNORE] = VOID_COLOUR
    return colours


def _lab(colours: np.ndarray) -> np.ndarray:
    """Return sRGB colours (N,3) in 0..255 in the space CIELAB, where distances are about those that people see."""
    share = colours / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / (0.9505, 1.0, 1.089)  # of white under daylight
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
