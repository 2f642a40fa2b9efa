"""Class names and colours."""

import pytest

from segment.data.classes import Classes, voc_palette
from segment.data.datasets.voc import VOC


def test_the_palette_is_that_of_vocs_devkit():
    """Some values of VOClabelcolormap.m, which PASCAL's own masks have, too."""
    assert voc_palette(256)[255] == (224, 224, 192)
    assert dict(zip(VOC.names, VOC.palette, strict=True))["person"] == (192, 128, 128)
    assert VOC.palette[20] == (0, 64, 128)


@pytest.mark.parametrize(("names", "colours"), [(2, 3), (0, 0), (255, 255)])
def test_numbers_of_names_and_colours(names, colours):
    with pytest.raises(ValueError, match=f"got {names} and {colours}"):
        Classes(tuple(map(str, range(names))), voc_palette(colours))


def test_a_flat_palette_ends_with_void():
    palette = VOC.flat_palette()
    assert len(palette) == 768
    assert (palette[3:6], palette[63:66], palette[-3:]) == ([128, 0, 0], [0, 0, 0], [224, 224, 192])
