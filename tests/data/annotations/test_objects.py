"""Drawing of objects: each shape, order, frame, and points outside the image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from segment.data.annotations.objects import AnnotatedObject, Annotation, DrawnMask, PackedMask, draw_by_pil
from segment.data.headers import image_header
from segment.errors import SegmentError
from tests.data.annotations.conftest import BOX, save_photo


def drawn(shape, points, height=20, width=30):
    mask, left, top = draw_by_pil(AnnotatedObject("a", (np.array(points, float),), shape=shape), height, width)
    found = np.zeros((height, width), bool)
    found[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return found


def annotation(*objects, size=None, image=Path("a.jpg")):
    return Annotation("a", image, Path("a.json"), objects, size)


def test_polygons_are_drawn_as_pil_draws_them_on_the_whole_image():
    random = np.random.default_rng(0)
    for i in range(200):
        points = (random.random((random.integers(3, 9), 2)) * 1.6 - 0.3) * (30, 20)
        points = np.round(points) if i % 3 == 0 else points
        image = Image.new("1", (30, 20))
        ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
        assert np.array_equal(drawn("polygon", points), np.array(image))


@pytest.mark.parametrize(
    ("shape", "points", "pixels"),
    [
        ("polygon", BOX, 80),
        ("rectangle", [[9, 12], [2, 3]], 80),  # corners in any order
        ("oriented_rectangle", BOX, 80),
        ("circle", [[15, 10], [15, 13]], 37),
        ("ellipse", [[2, 3], [9, 12]], 64),
        ("point", [[15, 10]], 97),
        ("line", [[5, 10], [24, 10]], 200),
        ("linestrip", [[5, 10], [14, 10], [24, 10]], 200),
        ("polygon", [[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]], 600),
        ("polygon", [[40, 40], [50, 40], [50, 50]], 0),
        ("circle", [[5, 5], [1e9, 5]], 600),
    ],
)
def test_shapes(shape, points, pixels):
    assert drawn(shape, points).sum() == pytest.approx(pixels, rel=0.08)


def test_later_objects_win_and_background_erases():
    box, inner = np.array(BOX, float), np.array([[4, 5], [6, 5], [6, 7], [4, 7]], float)
    hole, inside = AnnotatedObject("background", (inner,)), AnnotatedObject("b", (inner[:3],))
    item = annotation(AnnotatedObject("a", (box,)), hole, inside)
    header = image_header_of(30, 20)
    found = item.object_map(header)
    assert np.unique(found).tolist() == [0, 1, 3]
    assert (found == 0).sum() == 600 - 80 + 3
    labels = item.label_map(header, lambda one: {"a": 7, "b": 255, "background": 0}[one.label])
    assert np.unique(labels).tolist() == [0, 7, 255]


def image_header_of(width, height, orientation=1):
    from segment.data.headers import ImageHeader

    return ImageHeader((width, height), "RGB", "JPEG", orientation)


def test_masks_may_lie_partly_outside():
    mask = PackedMask.pack(np.ones((6, 8), bool), -3, 17)
    assert (mask.left, mask.top, mask.width, mask.height) == (-3, 17, 8, 6)
    found = annotation(AnnotatedObject("a", mask=mask)).object_map(image_header_of(30, 20))
    assert np.argwhere(found).min(0).tolist() == [17, 0]
    assert found.sum() == 3 * 5
    assert AnnotatedObject("a", mask=PackedMask.pack(np.zeros((4, 4), bool))).is_empty


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_frame_is_the_orientation_whose_size_is_declared(tmp_path, orientation):
    path = save_photo(tmp_path / "a.jpg", orientation)
    upright = image_header(path).size[::-1]
    point = AnnotatedObject("a", mask=PackedMask.pack(np.ones((1, 1), bool), 4, 2))
    found = annotation(point, size=upright, image=path).object_map(image_header(path))
    assert found.shape == upright
    assert np.argwhere(found).tolist() == [[2, 4]]
    stored = annotation(point, size=(20, 30), image=path).object_map(image_header(path))
    assert stored.shape == upright
    if orientation == 6:  # the stored image is turned clockwise to be upright
        assert np.argwhere(stored).tolist() == [[4, 20 - 1 - 2]]
    if orientation < 5:  # both sizes agree: the upright image is meant
        assert np.argwhere(stored).tolist() == [[2, 4]]


@pytest.mark.parametrize("count", [10**6, 10**5])
def test_outlines_that_would_take_minutes_are_refused(count):
    points = np.random.default_rng(0).random((count, 2)) * 60
    with pytest.raises(SegmentError, match="an outline of dog has more than 100000 points or 1000000 pixels"):
        annotation(AnnotatedObject("dog", (points,)))
    annotation(AnnotatedObject("dog", (points[:20_000],)))


def test_another_size_is_a_problem(tmp_path):
    path = save_photo(tmp_path / "a.jpg")
    drawing = DrawnMask(annotation(size=(20, 31), image=path), lambda item: 1)
    assert "is made for 31x20 pixels, but its image" in drawing.frame_problem(image_header(path)).message
    with pytest.raises(SegmentError, match="made for 31x20"):
        drawing.draw(image_header(path))
