"""A photo of known classes."""

import numpy as np
import pytest

from segment.data.classes import Classes
from segment.page import SegmentedPhoto
from segment.prediction.segmenter import Segmentation


@pytest.fixture
def seen() -> SegmentedPhoto:
    """Return a photo of 2000 pixels: 1499 of background, 500 of a class whose name is markup, and one sail."""
    classes = Classes(("background", "<b>sea & sky", "sail", "gull"), ((0, 0, 0), (0, 0, 255), (255, 0, 0), (9, 9, 9)))
    mask = np.zeros((40, 50), np.uint8)
    mask.flat[:500] = 1
    mask.flat[777] = 2
    image = np.full((40, 50, 3), 120, np.uint8)
    return SegmentedPhoto("beach", Segmentation(image, mask, classes), np.array([0.9, 0.75, np.nan, np.nan]))
