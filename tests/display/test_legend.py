"""The legend of an overlay: below the picture, with the colour and the name of each class that occurs."""

import numpy as np
import pytest
from PIL import Image

from segment.data.classes import IGNORE, Classes, voc_palette
from segment.display import legend
from segment.display.legend import with_legend

CLASSES = Classes(("background", "cat", "dog", "long" * 20), voc_palette(4))


@pytest.fixture
def drawn(monkeypatch):
    """Record the texts that are drawn, each with the point at its left end."""
    texts = []

    class Draw(legend.ImageDraw.ImageDraw):
        def text(self, xy, text, *args, **kwargs):
            texts.append((text, xy))
            super().text(xy, text, *args, **kwargs)

    monkeypatch.setattr(legend.ImageDraw, "Draw", Draw)
    return texts


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (640, 480), (1500, 1000)])
def test_each_class_has_its_name_and_colour(drawn, size):
    picture = Image.new("RGB", size, (9, 9, 9))
    mask = np.resize(np.array([3, IGNORE, 1], np.uint8), size[::-1]) if max(size) > 1 else np.array([[1]], np.uint8)
    result = with_legend(picture, mask, CLASSES)
    assert result.crop((0, 0, *size)).tobytes() == picture.tobytes()
    expected = ["cat"] if max(size) == 1 else ["cat", ("long" * 20)[:39] + "…"]
    assert [text for text, _ in drawn] == expected
    for (_, (x, y)), colour in zip(drawn, (CLASSES.palette[1], CLASSES.palette[3]), strict=False):
        assert size[1] < y < result.height
        side = max(12, round((size[0] * size[1]) ** 0.5 / 50))
        assert result.getpixel((int(x - side), int(y))) == colour
    right = result.crop((result.width - 2, size[1], result.width, result.height))
    assert right.getextrema() == ((255, 255),) * 3  # no name is cut


def test_background_is_not_taken_for_white(drawn):
    classes = Classes(("background", "cell"), ((0, 0, 0), (255, 255, 255)))
    result = with_legend(Image.new("RGB", (300, 9)), np.resize([0, 1], (9, 300)), classes)
    strip = np.array(result)[9:]
    boxes = [strip[:, int(x) - 18 : int(x) - 6] for _, (x, _) in drawn]
    assert (boxes[0] == 128).sum() > (boxes[1] == 128).sum()


def test_a_picture_without_classes_stays():
    picture = with_legend(Image.new("RGB", (50, 40)), np.full((40, 50), IGNORE, np.uint8), CLASSES)
    assert picture.size == (50, 40)
