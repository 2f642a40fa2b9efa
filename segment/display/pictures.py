"""Pictures of class maps, pixel by pixel, without matplotlib, which takes half a second to import."""

import numpy as np
from PIL import Image

from segment.data.classes import BACKGROUND, IGNORE, Classes
from segment.display.colours import class_colours


def palette_image(mask: np.ndarray, classes: Classes) -> Image.Image:
    """Return class indices (H,W) as an image of mode P, with the indices as values and the colours as palette."""
    image = Image.fromarray(mask.astype(np.uint8), mode="L")
    image.putpalette(classes.flat_palette())  # turns mode L into P
    return image


def overlay(image: np.ndarray, mask: np.ndarray, classes: Classes, opacity: float = 0.55) -> np.ndarray:
    """Return an image uint8 (H,W,3) blended with the classes' colours, except where it is background or void.

    Args:
        image: uint8 (H,W,3) RGB.
        mask: class indices (H,W).
        opacity: opacity of the colours, in 0..1.
    """
    strength = np.full((256, 1), opacity, np.float32)
    strength[IGNORE] = 0
    if BACKGROUND in classes.names:
        strength[classes.names.index(BACKGROUND)] = 0
    colours = class_colours(classes) * strength + 0.5  # 0.5 rounds
    result = np.empty_like(image)
    for row in range(0, len(image), 32):  # the floats of a whole image of 24 million pixels would take gigabytes
        part = mask[row : row + 32]
        result[row : row + 32] = image[row : row + 32] * (1 - strength)[part] + colours[part]
    return result
