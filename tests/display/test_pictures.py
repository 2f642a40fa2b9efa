"""Overlays and palette images, pixel by pixel."""

import numpy as np

from segment.data.classes import BACKGROUND, IGNORE, Classes
from segment.display.pictures import overlay, palette_image

CLASSES = Classes((BACKGROUND, "cat"), ((0, 0, 0), (200, 100, 0)))
MASK = np.array([[0, 1], [1, IGNORE]])


def test_palette_image_keeps_the_labels_and_has_the_colours():
    image = palette_image(MASK, CLASSES)
    assert image.mode == "P"
    assert np.array_equal(np.array(image), MASK)
    assert image.convert("RGB").getpixel((1, 0)) == (200, 100, 0)


def test_overlay_covers_classes_but_not_background_and_void():
    image = np.full((2, 2, 3), 100, np.uint8)
    result = overlay(image, MASK, CLASSES, opacity=0.5)
    assert result[0, 0].tolist() == result[1, 1].tolist() == [100, 100, 100]
    assert result[0, 1].tolist() == result[1, 0].tolist() == [150, 100, 50]
    assert image.max() == 100  # the image itself stays


def test_overlay_in_blocks_of_rows_equals_the_whole():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (70, 9, 3)).astype(np.uint8), rng.integers(0, 2, (70, 9))
    expected = np.where(mask[..., None], np.floor(0.45 * image + 0.55 * np.array(CLASSES.palette[1]) + 0.5), image)
    assert np.abs(overlay(image, mask, CLASSES) - expected).max() <= 1
