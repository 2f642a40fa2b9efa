"""CVAT's labelmap.txt gives the classes of a folder."""

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.folder import FolderDataModule
from segment.data.labelmap import read_labelmap
from segment.errors import SegmentError

CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n\nroad:128,64,128::\nrider: 220,20,60:head,hand:walk,run\n"


def test_a_labelmap(tmp_path):
    (tmp_path / "labelmap.txt").write_text(CVAT)
    expected = {"0/0/0": "background", "128/64/128": "road", "220/20/60": "rider"}
    assert read_labelmap(tmp_path / "labelmap.txt") == expected


def test_names_without_colours_have_those_of_voc(tmp_path):
    (tmp_path / "labelmap.txt").write_text("\ufeffbackground:::\r\naeroplane\r\nStra\u00dfe:9,9,9::\r\n", "utf-8")
    expected = {"0/0/0": "background", "128/0/0": "aeroplane", "9/9/9": "Stra\u00dfe"}
    assert read_labelmap(tmp_path / "labelmap.txt") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("road:1,2", "expected NAME:RED,GREEN,BLUE:: in each line, but one reads 'road:1,2'"),
        ("road:1,2,256::", "but one reads"),
        ("road:red::", "but one reads"),
        (":1,2,3::", "but one reads"),
        ("road:1,2,3::\nsky:1,2,3::", "'road' and 'sky' have one colour, 1/2/3"),
        (b"Stra\xdfe:1,2,3::", "is no UTF-8 text"),
    ],
)
def test_faults(tmp_path, text, message):
    (tmp_path / "labelmap.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SegmentError, match=message):
        read_labelmap(tmp_path / "labelmap.txt")


@pytest.mark.parametrize("place", ["", "SegmentationClass"])
def test_classes_come_from_the_labelmap(tmp_path, place):
    colours = np.array([(0, 0, 0), (128, 64, 128), (220, 20, 60)], np.uint8)
    for kind in ("JPEGImages", "SegmentationClass"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            Image.fromarray(colours[[[0, 1, 2]]]).save(tmp_path / kind / f"{i}.png")
    (tmp_path / place / "labelmap.txt").write_text(CVAT)
    options = {"images": "JPEGImages", "masks": "SegmentationClass"}
    data = FolderDataModule(str(tmp_path), **options)
    assert data.classes.names == ("background", "road", "rider")
    assert data.dataset("train")[0]["mask"].tolist() == [[0, 1, 2]]
    copy = FolderDataModule("elsewhere", classes=data.settings()["classes"])  # as from a checkpoint
    assert (copy.classes, copy.labels.table) == (data.classes, data.labels.table)
    named = FolderDataModule(str(tmp_path), ["a", "b"], **options)
    assert named.classes.names == ("a", "b")
