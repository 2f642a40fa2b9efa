"""Class names and colours of a data set, and the label of ignored pixels."""

from dataclasses import dataclass

IGNORE = 255
"""Label of pixels that are left out of loss and metrics: VOC's void, unlabelled areas, padding."""

BACKGROUND = "background"
"""Name of the class that means "no object": overlays leave it clear."""

MAX_NAME = 1000
"""Largest number of characters of a name: to plot one of a million takes minutes."""

Colour = tuple[int, int, int]
VOID_COLOUR: Colour = (224, 224, 192)
"""Colour of label 255 in VOC's palette."""


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours (0 to 255) of the classes 0, 1, 2, ... of a data set.

    Args:
        names: name of each class.
        palette: colour of each class.
        stuff: names of the amorphous classes (sky, road); all others are things (car, person).

    Raises:
        ValueError: names and colours differ in number, or there are more than 254 classes.

    Example:
        >>> classes = Classes(("background", "cell"), voc_palette(2))
        >>> len(classes), classes.palette[1]
        (2, (128, 0, 0))
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    stuff: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette) or not 0 < len(self.names) < IGNORE:
            raise ValueError(
                f"expected 1 to 254 class names and as many colours, got {len(self.names)} and {len(self.palette)}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def flat_palette(self) -> list[int]:
        """Return the 256 x 3 values of a palette PNG; label 255 has VOC's void colour."""
        colours = [*self.palette, *[(0, 0, 0)] * (IGNORE - len(self)), VOID_COLOUR]
        return [value for colour in colours for value in colour]


def voc_palette(count: int) -> tuple[Colour, ...]:
    """Return the first ``count`` colours of PASCAL VOC's colour map (VOCdevkit, ``VOClabelcolormap.m``).

    Bit 3k of the label is bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue.
    """

    def channel(label: int, offset: int) -> int:
        return sum((label >> (3 * k + offset) & 1) << (7 - k) for k in range(8))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count))
