"""Another colour for a class, as make-up does it."""

from collections.abc import Sequence

import numpy as np

from segment.effects.light import LUMINANCE, lightness, luminance_of, move_mean, paint, read_colour, to_linear, to_srgb
from segment.effects.selection import select
from segment.errors import SegmentError


def recolour(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[int],
    colour: str,
    opacity: float = 1.0,
    feather: float = 0.0,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the image, uint8 (H,W,3), with the hue of the colour in the chosen classes, and its mean lightness.

    The shading stays: pixels that were lighter than others still are. So white comes out a little darker, and black a
    little lighter, where there is shading: a quarter of its contrast stays.

    Args:
        image: uint8 (H,W,3).
        mask: class indices (H,W).
        classes: indices of the classes to recolour.
        colour: a name, or a value such as "#b03060".
        opacity: share of the new colour, from 0 to 1.
        feather: width of the soft edge, see :func:`segment.effects.select`.
        probabilities: for the soft edge.

    Raises:
        SegmentError: there is no such colour, or ``opacity`` is not from 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise SegmentError(f"opacity={opacity}: expected a number from 0 to 1")
    paint_light = to_linear(read_colour(colour))
    weight = select(mask, classes, probabilities, feather)
    inside = weight > 0
    if not inside.any():
        return image.copy()
    light, share = to_linear(image[inside]), weight[inside]
    values = lightness(light @ LUMINANCE)
    moved = move_mean(values, float(np.average(values, weights=share)), float(lightness(paint_light @ LUMINANCE)))
    # Light is mixed, since mixing light keeps the order of luminance.
    share = (share * opacity)[:, None]
    result = image.copy()
    result[inside] = to_srgb((1 - share) * light + share * paint(paint_light, luminance_of(moved)))
    return result
