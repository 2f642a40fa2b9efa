"""A class made unrecognisable, for privacy."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from segment.effects.selection import alpha_channel
from segment.errors import SegmentError


def blur(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[int],
    radius: float = 12.0,
    feather: float = 0.0,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the image, uint8 (H,W,3), with the chosen classes blurred.

    Args:
        image: uint8 (H,W,3).
        mask: class indices (H,W).
        classes: indices of the classes to blur.
        radius: standard deviation of the Gaussian, in pixels. Choose it by the size of what is to be hidden.
        feather: width of the soft edge, see :func:`segment.effects.select`.
        probabilities: for the soft edge.

    Raises:
        SegmentError: ``radius`` is not above 0.
    """
    if not 0 < radius < np.inf:
        raise SegmentError(f"radius={radius}: expected a number of pixels above 0")
    photo = Image.fromarray(image)
    alpha = alpha_channel(mask, classes, probabilities, feather)
    return np.asarray(Image.composite(photo.filter(ImageFilter.GaussianBlur(radius)), photo, Image.fromarray(alpha)))
