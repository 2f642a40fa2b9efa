"""Photos to predict."""

import numpy as np

from segment.data.datasets.shapes import draw


def photo(seed: int) -> np.ndarray:
    """Return an image of the data set shapes, uint8 (H,W,3)."""
    return draw(np.random.default_rng(seed))[0]
