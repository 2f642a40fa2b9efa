"""Mask files become class labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.headers import mask_header
from segment.data.labels import Labels, index_labels, parse_classes, ranges
from segment.errors import SegmentError
from tests.data.tiffs import png

COLOURS = np.array([(0, 0, 0), (128, 64, 128), (220, 20, 60)], np.uint8)


def read(labels: Labels, path: Path) -> tuple[list, dict[int, int]]:
    mask, unknown = labels.translate(labels.read_values(path))
    return mask.tolist(), unknown


def test_index_labels(tmp_path):
    values = np.array([[0, 1, 2, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert read(index_labels(2, offset=1, void=(0, 255)), tmp_path / "mask.png") == ([[255, 0, 1, 255]], {})
    assert read(index_labels(2), tmp_path / "mask.png")[1] == {2: 1}


@pytest.mark.parametrize(
    "table",
    [
        index_labels(21).table,  # VOC
        index_labels(150, offset=1, void=(0,)).table,  # ADE20K
        index_labels(11, void=(11, 255)).table,  # CamVid: 11 becomes 255, all others stay
        {0: 0, 2: 2},
        {0: 1, 1: 0},
        {200: 0, 201: 1},
        {value: value for value in range(254)},
    ],
)
def test_each_value_becomes_its_label_and_the_others_are_counted(table):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, order="F")
    for chosen in (
        values,
        np.vectorize(lambda value: value if value in table else min(table))(values).astype(np.uint8),
    ):
        mask, unknown = Labels(table).translate(chosen)
        expected = [[table.get(int(value), 254) for value in row] for row in chosen]
        assert mask.tolist() == expected
        assert mask.is_contiguous()
        assert unknown == {int(value): 1 for value in chosen.flat if int(value) not in table}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours(tmp_path, mode):
    image = Image.fromarray(COLOURS[[[0, 1, 2]]])
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(tmp_path / "mask.png")
    labels = Labels({(0, 0, 0): 255, (128, 64, 128): 0, (220, 20, 60): 1})
    assert read(labels, tmp_path / "mask.png") == ([[255, 0, 1]], {})
    fewer = Labels({(0, 0, 0): 255, (128, 64, 128): 0})
    assert read(fewer, tmp_path / "mask.png")[1] == {(220 << 16) + (20 << 8) + 60: 1}


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_masks_of_few_bits_hold_the_labels(tmp_path, depth):
    values = np.arange(2**depth, dtype=np.uint8)[None].repeat(3, 0)
    (tmp_path / "mask.png").write_bytes(png(values[..., None], depth))
    assert read(index_labels(16), tmp_path / "mask.png")[0] == values.tolist()


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_masks_own_orientation_is_applied(tmp_path, kind, mode):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    values = np.array([[0, 1, 2], [2, 0, 1]], np.uint8)
    Image.fromarray(values if mode == "L" else COLOURS[values]).save(tmp_path / f"mask.{kind}", exif=exif)
    labels = index_labels(3) if mode == "L" else Labels({tuple(c): i for i, c in enumerate(COLOURS.tolist())})
    assert read(labels, tmp_path / f"mask.{kind}")[0] == np.rot90(values, -1).tolist()
    assert mask_header(tmp_path / f"mask.{kind}").size == (2, 3)


def test_a_tiff_whose_zero_is_white_is_refused(tmp_path):
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "mask.tif", tiffinfo={262: 0})
    with pytest.raises(SegmentError, match=r"mask.tif: in this TIFF 0 is white|in which 0 is white"):
        read(index_labels(2), tmp_path / "mask.tif")


def test_colours_of_grey_masks_with_transparency(tmp_path):
    Image.fromarray(np.array([[0, 9]], np.uint8)).convert("LA").save(tmp_path / "mask.png")
    assert read(Labels({(0, 0, 0): 0, (9, 9, 9): 1}), tmp_path / "mask.png")[0] == [[0, 1]]


def test_interlaced_and_plain_pngs_have_equal_values(tmp_path):
    """A filtered PNG takes another path through the reader than one without filters."""
    values = np.add.outer(np.arange(50), np.arange(60)).astype(np.uint8)
    for name, options in (("plain", {"compress_level": 0}), ("filtered", {"optimize": True})):
        Image.fromarray(values).save(tmp_path / f"{name}.png", **options)
        assert np.array_equal(index_labels(200).read_values(tmp_path / f"{name}.png"), values)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB"])
def test_a_damaged_mask_is_refused(tmp_path, mode):
    """One bit is flipped anywhere after the header, or the file is cut off at any byte."""
    Image.fromarray(COLOURS[[[0, 1, 2] * 8] * 16]).quantize(8).convert(mode).save(tmp_path / "mask.png")
    content = (tmp_path / "mask.png").read_bytes()
    labels = Labels({tuple(c): i for i, c in enumerate(COLOURS.tolist())} if mode == "RGB" else {0: 0, 1: 1})
    for i in range(33, len(content), 7):
        for damaged in (content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :], content[:i]):
            (tmp_path / "mask.png").write_bytes(damaged)
            with pytest.raises(SegmentError, match=r"cannot read the mask .*mask.png: (it is damaged|the file is cut)"):
                labels.read_values(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (None, "data.classes is missing"),
        ("cell", "data.classes=cell: expected a list"),
        (["a", "a"], "a repeated"),
        (["a"], "names 1 classes"),
        ({0: "a", "#000000": "b"}, "not both"),
        ({"red": "a", "blue": "b"}, "'red' is neither a mask value"),
        ({0: "a", 256: "b"}, "'256' is neither"),
        ({"1/2/256": "a", "1/2/3": "b"}, "'1/2/256' is neither"),
    ],
)
def test_classes_that_make_no_sense(classes, message):
    with pytest.raises(SegmentError, match=message):
        parse_classes(classes)


def test_a_table_of_colours():
    classes, labels = parse_classes({"128/64/128": "road", "#000000": "void", "0/255/0": "grass", "1/1/1": "road"})
    assert (classes.names, classes.palette) == (("road", "grass"), ((128, 64, 128), (0, 255, 0)))
    assert labels.table == {(128, 64, 128): 0, (0, 0, 0): 255, (0, 255, 0): 1, (1, 1, 1): 0}


def test_ranges():
    assert ranges([0, 1, 2, 5, 254, 255]) == "0 to 2 and 5 and 254 to 255"
