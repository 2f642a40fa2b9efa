"""Trained nets in Python: the kinds of images that they take, and the results, which can be shown and saved."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import segment
from segment.data.classes import Classes
from segment.data.datasets.shapes import SHAPES
from segment.data.images import Reading
from segment.errors import SegmentError
from segment.prediction import Inference, Segmenter
from segment.prediction.segmenter import Segmentation, to_rgb_tensor
from tests.conftest import varied_checkpoint
from tests.data.tiffs import tiff
from tests.prediction.conftest import photo

VALUES = photo(3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    torch.save(varied_checkpoint(folder), folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    return segment.load(checkpoint, device="cpu")


def test_a_loaded_net_has_its_classes(segmenter):
    assert isinstance(segmenter, Segmenter)
    assert segmenter.classes.names == SHAPES.names
    assert segmenter.classes.palette == SHAPES.palette
    assert "6 classes: background, disc, square" in repr(segmenter)


def test_device_and_protocol_can_be_chosen(checkpoint):
    segmenter = segment.load(checkpoint, "cpu", Inference(flip=True))
    assert repr(segmenter).endswith("single scale, whole images, flipped; on cpu)")
    expected = Inference(flip=True).class_map(segmenter.net, torch.from_numpy(VALUES).permute(2, 0, 1))
    assert np.array_equal(segmenter.predict(VALUES).mask, expected.numpy())
    with pytest.raises(SegmentError, match="device=nonsense: "):
        segment.load(checkpoint, "nonsense")


def test_paths_images_arrays_and_tensors_are_segmented(segmenter, tmp_path):
    image, tensor = Image.fromarray(VALUES), torch.from_numpy(VALUES).permute(2, 0, 1)
    image.save(tmp_path / "a.png")
    expected = segmenter.net.predict(tensor[None])[0].numpy()
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), image, VALUES, tensor):
        result = segmenter.predict(given)
        assert np.array_equal(result.mask, expected)
        assert np.array_equal(result.image, VALUES)
    grey = VALUES[..., 0]
    expected = segmenter.predict(np.dstack([grey] * 3)).mask
    for given in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(segmenter.predict(given).mask, expected)


def test_bands_in_memory_are_chosen_as_those_of_files(tmp_path):
    bands, reading = np.dstack([VALUES, 255 - VALUES[..., :1]]), Reading(bands=[3, 0, 1])
    (tmp_path / "a.tif").write_bytes(tiff(bands))
    expected = to_rgb_tensor(tmp_path / "a.tif", reading)
    assert np.array_equal(expected.permute(1, 2, 0), bands[..., [3, 0, 1]])
    five = np.dstack([bands, bands[..., 0]])
    for given in (bands, five, torch.from_numpy(bands).permute(2, 0, 1)):
        assert torch.equal(to_rgb_tensor(given, reading), expected)
    for given in (VALUES, Image.fromarray(VALUES)):
        with pytest.raises(SegmentError, match=r"has the bands 0 to 2, and data.bands=\[3, 0, 1\]"):
            to_rgb_tensor(given, reading)
        turned = to_rgb_tensor(given, Reading(bands=[2, 1, 0]))
        assert np.array_equal(turned.permute(1, 2, 0), VALUES[..., ::-1])
    with pytest.raises(SegmentError, match=r"data.bands=\[3, 0, 1\]: give the path or an array, not a PIL"):
        to_rgb_tensor(Image.fromarray(bands), reading)


@pytest.mark.parametrize(
    "wrong",
    [
        VALUES / 255,
        VALUES.transpose(2, 0, 1),
        torch.from_numpy(VALUES).permute(2, 0, 1)[None],
        torch.from_numpy(VALUES),
        np.zeros((0, 5), np.uint8),
        VALUES[0, 0],
        VALUES[..., 0] > 9,
    ],
)
def test_arrays_that_hold_no_image_are_refused(segmenter, wrong):
    with pytest.raises(
        SegmentError, match=r"expected uint8 values from 0 to 255 in an array \(H,W\), .*\(H,W,3\).*; got"
    ):
        segmenter.predict(wrong)


def test_other_things_and_broken_images_are_refused(segmenter, tmp_path):
    with pytest.raises(SegmentError, match="expected a path, a PIL image, an array or a tensor, got a list"):
        segmenter.predict([VALUES])
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with pytest.raises(SegmentError, match="cannot read the image: image file is truncated"):
        segmenter.predict(Image.open(tmp_path / "half.png"))


def test_a_result_can_be_counted_shown_and_saved(segmenter, tmp_path):
    result = segmenter.predict(VALUES, probabilities=True)
    assert result.probabilities.shape == (len(SHAPES), *result.mask.shape)
    assert sum(result.counts().values()) == result.mask.size
    assert result.overlay().size == (VALUES.shape[1], VALUES.shape[0])
    for path in (tmp_path / "new" / "mask.png", tmp_path / "mask.PNG"):
        result.save(path)
        assert np.array_equal(np.array(Image.open(path)), result.mask)
    with pytest.raises(SegmentError, match=r"mask.jpg: expected a name that ends in .png"):
        result.save("mask.jpg")
    assert re.fullmatch(r"Segmentation\(\d+x\d+: (\w+ [\d.]+ %(, )?)+(\.\.\.)?\)", repr(result))
    assert Image.open(io.BytesIO(result._repr_png_())).height > len(result.mask)  # a legend


@pytest.mark.parametrize(("side", "width"), [(30, 780), (500, 500), (1600, 800)])
def test_small_images_are_enlarged_in_a_notebook(side, width):
    result = Segmentation(
        np.zeros((20, side, 3), np.uint8), np.zeros((20, side), np.uint8), Classes(("a",), ((9, 9, 9),))
    )
    assert Image.open(io.BytesIO(result._repr_png_())).width == width


def test_importing_segment_is_light():
    code = (
        "import sys, segment, segment.prediction; "
        "print(segment.load.__name__, 'torch' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["load", "False", "False"]
