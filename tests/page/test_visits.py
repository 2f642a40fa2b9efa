"""What browsers send, and the surfaces to choose from."""

import numpy as np
import pytest
from PIL import Image

from segment.errors import SegmentError
from segment.page.textures import TEXTURES
from segment.page.visits import OWN_PICTURE, picked_colour, read_surface


@pytest.mark.parametrize(
    ("sent", "colour"),
    [("#c2185b", "#c2185b"), ("rgba(194.3, 24, 90.6, 1)", "#c2185b"), ("rgb(256, 0, 0)", "#ff0000"), ("red", "red")],
)
def test_colours(sent, colour):
    assert picked_colour(sent) == colour


@pytest.mark.parametrize("name", TEXTURES)
def test_drawn_surfaces_repeat_and_are_not_flat(name):
    texture = read_surface(name, None).astype(float)
    assert (texture.shape, read_surface(name, None).dtype) == ((128, 128, 3), np.uint8)
    assert texture.std() > 10
    assert (read_surface(name, None) == texture).all()


def test_a_surface_of_the_visitor(tmp_path):
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png")
    sent = {"path": str(tmp_path / "a.png"), "orig_name": "red.png"}
    assert (read_surface(OWN_PICTURE, sent) == [255, 0, 0]).all()
    with pytest.raises(SegmentError, match="choose a picture of a surface first"):
        read_surface(OWN_PICTURE, None)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SegmentError, match=r"red\.png cannot be read"):
        read_surface(OWN_PICTURE, sent)
