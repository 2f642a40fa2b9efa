"""Pictures that an effect takes beside the photo: a texture, a background."""

from functools import lru_cache

import numpy as np

from segment.data.images import Reading, check_header, read_image
from segment.files import user_path


@lru_cache(maxsize=4)
def read_picture(path: str, key: str) -> np.ndarray:
    """Return a picture, uint8 (H,W,3) RGB; the last ones are kept.

    Args:
        path: path of the picture.
        key: the key that an error message names.

    Raises:
        SegmentError: it cannot be read.
    """
    file = user_path(path, key)
    check_header(file)
    return read_image(file, Reading()).permute(1, 2, 0).numpy()
