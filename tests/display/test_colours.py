"""Colours of classes can be told apart, and are those of the data set where they can."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from segment.data.classes import IGNORE, VOID_COLOUR, Classes, voc_palette
from segment.data.datasets.ade20k import ADE20K
from segment.data.datasets.voc import VOC
from segment.display.colours import ALIKE, _lab, class_colours


def closest(classes: Classes) -> float:
    """Return the smallest distance between two colours that are shown, void's included."""
    shown = class_colours(classes)[[*range(len(classes)), IGNORE]]
    found = rgb2lab(shown[None] / 255)[0]
    distances = np.linalg.norm(found[:, None] - found, axis=2)
    return distances[~np.eye(len(found), dtype=bool)].min()


@pytest.mark.parametrize("classes", [VOC, Classes(tuple(map(str, range(40))), voc_palette(40))], ids=["voc", "40"])
def test_no_two_colours_look_alike(classes):
    assert closest(classes) >= ALIKE - 0.1


def test_of_ade20ks_colours_no_two_are_equal():
    assert closest(ADE20K) > 5


def test_colours_that_differ_stay():
    colours = class_colours(VOC)
    stay = [i for i, colour in enumerate(VOC.palette) if tuple(colours[i]) == colour]
    assert len(stay) > 16
    assert tuple(colours[VOC.names.index("bus")]) == VOC.palette[VOC.names.index("bus")]
    assert tuple(colours[IGNORE]) == VOID_COLOUR


def test_a_class_in_the_colour_of_void_gets_another():
    assert tuple(class_colours(Classes(("a", "b"), (VOID_COLOUR, (0, 0, 0))))[0]) != VOID_COLOUR


def test_as_many_classes_as_there_can_be():
    shown = class_colours(Classes(tuple(map(str, range(254))), ((9, 9, 9),) * 254))[[*range(254), IGNORE]]
    assert len(np.unique(shown, axis=0)) == 255


def test_the_space_is_cielab():
    colours = np.random.default_rng(0).integers(0, 256, (50, 3))
    assert np.abs(_lab(colours) - rgb2lab(colours[None] / 255.0)[0]).max() < 0.05
