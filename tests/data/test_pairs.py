"""Faulty pairs are found, and the message names the file."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.voc import VOCDataModule
from segment.data.images import Reading
from segment.data.labels import Labels, index_labels
from segment.data.pairs import Sample, header_problem, read_headers, read_pair
from segment.errors import SegmentError
from tests.conftest import write_pair


def voc_file(root: Path, folder: str, name: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / folder / name


def test_image_without_mask(voc_root):
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    with pytest.raises(SegmentError, match=r"2007_00v0.png is missing"):
        VOCDataModule(str(voc_root)).dataset("val")


@pytest.mark.parametrize("role", ["image", "mask"])
def test_what_is_no_file_is_named(tmp_path, role):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    for name, what in (("pipe", "a named pipe"), ("folder", "a folder"), ("link", "a broken link")):
        path, good = tmp_path / f"{name}.png", tmp_path / "good.png"
        problem = read_headers(Sample(name, *((path, good) if role == "image" else (good, path))))
        assert problem.kind == f"missing {role}"
        assert problem.message.startswith(f"{path} is {what}, not a file (sample {name!r})")


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
    header = header_problem(sample, read_headers(sample), labels, Reading())
    for problem in (header, read_pair(sample, labels, Reading())):
        assert problem.kind == "mask size"
        assert "mask.png is 40x20, its image 20x40 (width x height)" in problem.message
    assert "after its EXIF orientation is applied: data.mask_exif=image applies it to the masks" in header.message


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_that_are_drawn_on_the_stored_pixels(tmp_path, orientation):
    """They are turned as their images, if that is said and they have no orientation of their own."""
    exif, values = Image.Exif(), np.random.default_rng(0).integers(0, 3, (20, 40), dtype=np.uint8)
    exif[0x0112] = orientation
    Image.fromarray(values).convert("RGB").save(tmp_path / "image.png", exif=exif)
    Image.fromarray(values).save(tmp_path / "raw.png")
    Image.fromarray(values).save(tmp_path / "own.png", exif=exif)
    for name, mask_exif in (("raw.png", "image"), ("own.png", "image"), ("own.png", "own")):
        sample, reading = Sample("a", tmp_path / "image.png", tmp_path / name), Reading(mask_exif=mask_exif)
        assert header_problem(sample, read_headers(sample), index_labels(3), reading) is None
        image, mask = read_pair(sample, index_labels(3), reading)
        assert np.array_equal(image[0], mask)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_masks_with_transparency_have_a_way_on(tmp_path, suffix):
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    Image.new("LA", (4, 4), (0, 255)).save(tmp_path / f"mask.{suffix}")
    sample = Sample("a", tmp_path / "image.png", tmp_path / f"mask.{suffix}")
    problem = header_problem(sample, read_headers(sample), index_labels(2), Reading())
    assert "save it without its transparency (PNG mode L), or name its colours in data.classes" in problem.message
    assert header_problem(sample, read_headers(sample), Labels({(0, 0, 0): 0}), Reading()) is None


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_a_mask_of_several_pages_or_frames(tmp_path, form):
    frames = [Image.new("L", (24, 20)), Image.new("L", (24, 20), 1)]
    for kind, more in (("one", []), ("two", frames[1:])):
        path = tmp_path / f"{kind}.{form.lower()}"
        frames[0].save(path, save_all=True, append_images=more, **({"lossless": True} if form == "WEBP" else {}))
        Image.new("RGB", (24, 20)).save(tmp_path / "a.png")
        sample = Sample("a", tmp_path / "a.png", path)
        found = header_problem(sample, read_headers(sample), Labels({(0, 0, 0): 0}), Reading())
        assert (found and found.message) == (
            f"{path} has several pages or frames: save each as an image file" if more else None
        )
