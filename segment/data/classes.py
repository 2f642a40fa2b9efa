"""Class names and colours of a data set, and the label that stands for "no class"."""

from dataclasses import dataclass

IGNORE = 255
"""Label of pixels that neither train nor count: VOC's void, unlabelled ground, padding."""

BACKGROUND = "background"
"""Name of the class that means "no object": overlays leave it clear."""

Colour = tuple[int, int, int]
VOID_COLOUR: Colour = (224, 224, 192)
"""How VOC's palette shows label 255."""


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours (0 to 255) of the classes 0, 1, 2, ... of a data set.

    ``stuff`` has the names of those that are amorphous (sky, road); all others are things (car, person).

    Raises:
        ValueError: names and colours differ in number, or there are more classes than a uint8 mask holds.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    stuff: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette) or not 0 < len(self.names) <= IGNORE:
            raise ValueError(f"{len(self.names)} class names and {len(self.palette)} colours")

    def __len__(self) -> int:
        return len(self.names)

    def flat_palette(self) -> list[int]:
        """The 256 x 3 values that a palette PNG wants; label 255 has VOC's void colour."""
        colours = [*self.palette, *[(0, 0, 0)] * (IGNORE - len(self)), VOID_COLOUR]
        return [value for colour in colours for value in colour]


def voc_palette(count: int) -> tuple[Colour, ...]:
    """The first ``count`` colours of PASCAL VOC's colour map (VOCdevkit, ``VOClabelcolormap.m``).

    Bit 3k of the label is bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue.
    """

    def channel(label: int, offset: int) -> int:
        return sum((label >> (3 * k + offset) & 1) << (7 - k) for k in range(8))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count))
