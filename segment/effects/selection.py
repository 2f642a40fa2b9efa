"""The selected part of an image: the pixels of some classes, with a hard or a soft edge."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from segment.errors import SegmentError


def select(
    mask: np.ndarray, classes: Sequence[int], probabilities: np.ndarray | None = None, feather: float = 0.0
) -> np.ndarray:
    """Return how much of each pixel is selected, float32 (H,W) from 0 to 1.

    Args:
        mask: class indices (H,W).
        classes: indices of the selected classes.
        probabilities: uint8 (classes,H,W) in 255ths, for the soft edge. Without them the edge is a straight ramp.
        feather: width of the soft edge on either side of the outline, in pixels; 0 for a hard edge.
            A pixel farther than that from the nearest one beyond the outline keeps its value.

    Raises:
        SegmentError: ``feather`` is below 0 or not finite.

    Example:
        >>> select(np.array([[0, 1, 1]]), [1])
        array([[0., 1., 1.]], dtype=float32)
    """
    if not 0 <= feather < np.inf:
        raise SegmentError(f"feather={feather}: expected a number of pixels from 0")
    hard = np.isin(mask, [*classes])
    weight = hard.astype(np.float32)
    if feather == 0 or hard.all() or not hard.any():
        return weight
    distance = np.where(hard, distance_transform_edt(hard), distance_transform_edt(~hard))
    # The outline runs half a pixel before the nearest pixel beyond it.
    nearness = np.where(distance <= feather, 1 - (distance - 0.5) / feather, 0).astype(np.float32)
    soft = np.float32(0.5) if probabilities is None else probabilities[[*classes]].sum(0, dtype=np.float32) / 255
    return np.clip(weight + nearness * (soft - weight), 0, 1)


def alpha_channel(
    mask: np.ndarray, classes: Sequence[int], probabilities: np.ndarray | None = None, feather: float = 0.0
) -> np.ndarray:
    """Return what :func:`select` returns as opacity, uint8 (H,W)."""
    return np.rint(select(mask, classes, probabilities, feather) * 255).astype(np.uint8)
