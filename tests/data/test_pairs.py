"""Faulty pairs are found, and the message names the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.voc import VOCDataModule
from segment.data.labels import index_labels
from segment.data.pairs import Sample, header_problem, read_pair
from segment.errors import SegmentError
from tests.conftest import write_pair


def voc_file(root: Path, folder: str, name: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / folder / name


def test_image_without_mask(voc_root):
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    with pytest.raises(SegmentError, match=r"2007_00v0.png is missing"):
        VOCDataModule(str(voc_root)).dataset("val")


def test_mask_of_another_size(voc_root):
    Image.new("P", (20, 30)).save(voc_file(voc_root, "SegmentationClass", "2007_00v2.png"))
    with pytest.raises(SegmentError, match=r"2007_00v2.png is 20x30, its image"):
        VOCDataModule(str(voc_root)).dataset("val")


def test_rgb_mask(voc_root):
    path = voc_file(voc_root, "SegmentationClass", "2007_00t3.png")
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(SegmentError, match=r"2007_00t3.png has mode RGB; expected one channel of class indices"):
        VOCDataModule(str(voc_root)).dataset("train")


def test_label_out_of_range(voc_root):
    write_pair(
        voc_file(voc_root, "JPEGImages", "2007_00v0.jpg"),
        voc_file(voc_root, "SegmentationClass", "2007_00v0.png"),
        np.full((20, 30), 21),
        0,
    )
    data = VOCDataModule(str(voc_root)).dataset("val")
    with pytest.raises(
        SegmentError,
        match=r"have 1 label that .* lacks, which has 0 to 20 and 255: (.|\n)* 21  # .* such as .*_00v0.png",
    ):
        data[0]


def test_a_mask_of_one_bit(voc_root):
    path = voc_file(voc_root, "SegmentationClass", "2007_00v0.png")
    Image.open(path).convert("L").point(lambda value: 255 * (value == 1), mode="1").save(path)
    assert set(VOCDataModule(str(voc_root)).dataset("val")[0]["mask"].unique().tolist()) <= {0, 1}


def test_a_mask_of_the_size_before_the_image_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.new("RGB", (40, 20)).save(tmp_path / "image.jpg", exif=exif)
    Image.new("L", (40, 20)).save(tmp_path / "mask.png")
    sample, labels = Sample("a", tmp_path / "image.jpg", tmp_path / "mask.png"), index_labels(2)
    for problem in (header_problem(sample, labels), read_pair(sample, labels)):
        assert problem.kind == "mask size"
        assert "mask.png is 40x20, its image 20x40 (width x height)" in problem.message
    assert header_problem(sample, labels).message.endswith("after its EXIF orientation is applied")
