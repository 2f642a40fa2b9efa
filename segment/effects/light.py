"""Light and colour: sRGB to linear light and back, lightness, and paint of a given luminance.

Formulas are those of IEC 61966-2-1 (sRGB) and of CIE 1976 (lightness L*).
"""

from contextlib import suppress

import numpy as np

from segment.errors import SegmentError

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Share of red, green and blue light in the luminance."""
KEPT_CONTRAST = 0.25
"""Smallest share of a surface's contrast that stays, however light or dark its new colour is."""
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_linear(image: np.ndarray) -> np.ndarray:
    """Return the light of uint8 sRGB values, float32 from 0 to 1."""
    return _LINEAR[image]


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Return uint8 sRGB values of light from 0 to 1."""
    light = np.clip(light, 0, 1)
    codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(codes * 255).astype(np.uint8)


def lightness(luminance: np.ndarray) -> np.ndarray:
    """Return L*, from 0 to 100, of luminances from 0 to 1."""
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * (24389 / 27))


def luminance_of(light: np.ndarray) -> np.ndarray:
    """Return the luminance, from 0 to 1, of a lightness from 0 to 100."""
    return np.where(light > 8, ((light + 16) / 116) ** 3, light * (27 / 24389))


def move_mean(values: np.ndarray, mean: float, target: float) -> np.ndarray:
    """Return lightness stretched so that ``mean`` becomes ``target``; black, white and the order of values stay.

    Near black and white, shading would vanish. So the new mean keeps away from them as far as :data:`KEPT_CONTRAST`
    asks, or less where there is hardly any shading: an even surface becomes as black or white as the target.
    """
    least = KEPT_CONTRAST * min(1, float(np.std(values)))
    if target <= mean:
        return values * (max(target / mean, least) if mean > 0 else 1)
    return 100 - (100 - values) * max((100 - target) / (100 - mean), least)


def paint(colour: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Return the linear light (...,3) of a hue at a luminance; where the screen has no such colour, a paler one.

    Args:
        colour: linear light (...,3) that gives the hue.
        luminance: luminance (...) of the result, which it has exactly.
    """
    own = (colour @ LUMINANCE)[..., None]
    grey = luminance[..., None].astype(np.float32)
    hue = np.where(own > 0, colour / np.where(own > 0, own, 1), 1) * grey - grey
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(hue > 0, (1 - grey) / hue, np.where(hue < 0, grey / -hue, np.inf)).min(-1, keepdims=True)
    return grey + np.minimum(room, 1) * hue


def read_colour(text: str) -> np.ndarray:
    """Return the uint8 (3,) RGB of a colour such as "#b03060" or "red".

    Raises:
        SegmentError: there is no such colour.
    """
    from PIL import ImageColor

    values: tuple[int, ...] = ()
    with suppress(ValueError, AttributeError):
        values = ImageColor.getrgb(text)
    if len(values) != 3:  # a fourth one would be an opacity
        raise SegmentError(f"colour={text}: expected a name such as red, or a value such as '#b03060'")
    return np.array(values, np.uint8)
