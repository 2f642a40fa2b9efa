"""Files to download: as large as the photo; pictures to look at are as large as the screen."""

import numpy as np
import pytest
from PIL import Image

from segment.page.downloads import shown_picture, write_classes, write_result, write_table


def test_two_answers_of_one_name_keep_their_files(tmp_path, seen):
    first, second = (write_classes(seen, "beach", tmp_path) for _ in range(2))
    assert [path.name for path in first] == ["beach_mask.png", "beach_overlay.png", "beach_classes.csv"]
    assert not {*first} & {*second}
    assert (np.asarray(Image.open(first[0])) == seen.found.mask).all()
    assert Image.open(first[1]).tobytes() == seen.found.overlay(legend=True).tobytes()
    assert first[2].read_text().startswith("class,pixels")


def test_a_picture_and_a_table(tmp_path):
    picture = np.zeros((3, 4, 4), np.uint8)
    path = write_result(picture, "a", tmp_path)
    assert (path.name, Image.open(path).mode, Image.open(path).size) == ("a.png", "RGBA", (4, 3))
    assert write_table("ä\r\n", "b", tmp_path).read_bytes() == "ä\r\n".encode()


@pytest.mark.parametrize(
    ("size", "shown"), [((100, 50), (1000, 500)), ((300, 10), (900, 30)), ((700, 9), (700, 9)), ((3200, 10), (1600, 5))]
)
def test_pictures_are_shown_at_the_size_of_a_screen(size, shown):
    assert shown_picture(Image.new("RGB", size)).size == shown
