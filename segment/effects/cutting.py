"""A class cut out of its picture, as rotoscoping does it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from segment.effects.picture import read_picture
from segment.effects.selection import alpha_channel


def cutout(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[int],
    background: np.ndarray | str | Path | None = None,
    feather: float = 0.0,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the chosen classes, uint8 (H,W,4) with opacity, or (H,W,3) on another background.

    Args:
        image: uint8 (H,W,3).
        mask: class indices (H,W).
        classes: indices of the classes to keep.
        background: an image, uint8 (h,w,3), or its path, scaled and cut to fill; None for a transparent one.
        feather: width of the soft edge, see :func:`segment.effects.select`.
        probabilities: for the soft edge.

    Raises:
        SegmentError: the background cannot be read.
    """
    alpha = alpha_channel(mask, classes, probabilities, feather)
    if background is None:
        return np.dstack([image, alpha])
    scene = background if isinstance(background, np.ndarray) else read_picture(str(background), "background")
    behind = ImageOps.fit(Image.fromarray(scene), (image.shape[1], image.shape[0]))
    return np.asarray(Image.composite(Image.fromarray(image), behind, Image.fromarray(alpha)))
