"""A legend below a picture: the colour and the name of each class that occurs in it."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segment.data.classes import BACKGROUND, IGNORE, Classes
from segment.display.colours import class_colours
from segment.files import printable

LONGEST = 40
"""Number of letters of a name that are shown."""


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Load matplotlib's own font, which has Latin, Greek, Cyrillic and Arabic letters."""
    found = find_spec("matplotlib")  # to import it takes half a second
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(Path(found.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def with_legend(picture: Image.Image, mask: np.ndarray, classes: Classes) -> Image.Image:
    """Return a picture with a strip below it that names the classes of a mask, in the order of their indices.

    Letters are 12 pixels high, and higher on large pictures. The strip is wider than a picture that is narrower than a
    name. The box of the class "background", which overlays leave clear, is crossed out.

    Args:
        picture: RGB.
        mask: class indices (H,W); 255 is void and not named.
    """
    width, height = picture.size
    size = max(12, round((width * height) ** 0.5 / 50))
    font, gap = _font(size), size // 2
    labels = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE)[:IGNORE]).tolist()
    if not labels:
        return picture
    names = {label: _shortened(classes.names[label]) for label in labels}
    widths = {label: size + gap + round(font.getlength(name)) for label, name in names.items()}
    places, right, bottom = _places(widths, max(width - 2 * gap, *widths.values()), 2 * gap, size + gap)
    result = Image.new("RGB", (max(width, right + 2 * gap), height + bottom + gap), "white")
    result.paste(picture, (0, 0))
    draw = ImageDraw.Draw(result)
    for label, (x, y) in places.items():
        left, top = x + gap, y + gap + height
        box, is_clear = (left, top, left + size - 1, top + size - 1), classes.names[label] == BACKGROUND
        draw.rectangle(box, None if is_clear else tuple(class_colours(classes)[label].tolist()), "grey")
        if is_clear:
            draw.line(box, "grey")
        draw.text((left + size + gap, top + size / 2), names[label], "black", font, anchor="lm")
    return result


def _shortened(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def _places(widths: dict[int, int], limit: int, gap: int, line: int) -> tuple[dict[int, tuple[int, int]], int, int]:
    """Return the left upper corner of each entry in lines of at most ``limit`` pixels, their right end and bottom."""
    places, x, y, right = {}, 0, 0, 0
    for label, width in widths.items():
        if x and x + width > limit:
            x, y = 0, y + line
        places[label] = (x, y)
        right = max(right, x + width)
        x += width + gap
    return places, right, y + line
