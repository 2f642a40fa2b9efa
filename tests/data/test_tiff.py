"""TIFF files with any number of bands of 8 or 16 bits."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from segment.data.images import Reading, read_image
from segment.data.tiff import bands_header, read_bands
from segment.errors import SegmentError
from tests.data.tiffs import tiff

RNG = np.random.default_rng(0)


def noise(bands: int, bits: int = 8) -> np.ndarray:
    return RNG.integers(0, 2**bits, (9, 21, bands)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize(("bands", "bits"), [(1, 16), (2, 8), (3, 16), (4, 8), (4, 16), (8, 8), (13, 16)])
def test_bands_are_read_as_they_were_written(bands, bits):
    values = noise(bands, bits)
    for order, planar, differences, tile in itertools.product("<>", (False, True), (False, True), (0, 16)):
        content = tiff(values, order, 2 if bands > 2 else 1, planar, differences, tile)
        found = read_bands(content, bands_header(io.BytesIO(content)))
        assert found.dtype == values.dtype
        assert np.array_equal(found, values)


def test_photos_are_left_to_pil():
    for bands, photometric in ((1, 0), (1, 1), (3, 2)):
        assert bands_header(io.BytesIO(tiff(noise(bands), photometric=photometric))) is None


def rgb(path, content: bytes, **reading) -> np.ndarray:
    path.write_bytes(content)
    return read_image(path, Reading(**reading)).permute(1, 2, 0).numpy()


def test_bands_are_chosen_and_never_blended(tmp_path):
    values = noise(6)
    for bands in (4, 5, 6):
        content = tiff(values[..., :bands])
        assert np.array_equal(rgb(tmp_path / "a.tif", content), values[..., :3])
        assert np.array_equal(rgb(tmp_path / "a.tif", content, bands=[3, 0, 3]), values[..., [3, 0, 3]])
        with pytest.raises(SegmentError, match=rf"has the bands 0 to {bands - 1}, and data.bands=\[{bands}, 0, 1\]"):
            rgb(tmp_path / "a.tif", content, bands=[bands, 0, 1])
    assert np.array_equal(rgb(tmp_path / "a.tif", tiff(values[..., :2], photometric=1)), values[..., [0, 0, 0]])


def test_planar_rgb_of_16_bits(tmp_path):
    values = noise(3, 16)
    assert np.array_equal(rgb(tmp_path / "a.tif", tiff(values, planar=True)), values >> 8)


def test_white_is_zero_in_16_bits_as_in_8(tmp_path):
    values = noise(1, 16)
    deep = rgb(tmp_path / "deep.tif", tiff(values, photometric=0))
    assert np.array_equal(deep, rgb(tmp_path / "a.tif", tiff((values >> 8).astype(np.uint8), photometric=0)))
    assert np.array_equal(deep[..., :1], 255 - (values >> 8))
    few = tiff(values >> 4, photometric=0)
    assert np.array_equal(rgb(tmp_path / "few.tif", few, bits=12), deep)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_are_turned_as_pil_turns_photos(tmp_path, orientation):
    values = noise(4)
    photo = rgb(tmp_path / "photo.tif", tiff(values[..., :3], orientation=orientation))
    assert np.array_equal(rgb(tmp_path / "a.tif", tiff(values, orientation=orientation)), photo)


def test_a_damaged_tiff_is_refused_in_one_line(tmp_path):
    content = tiff(noise(4, 16), differences=True)
    for damaged in (content[:-150], content[: len(content) // 2], content[:9], content[:100] + content[200:]):
        with pytest.raises(SegmentError, match=r"^cannot read the image [^\n]*$"):
            rgb(tmp_path / "a.tif", damaged)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_the_decoder_prints_no_lines_of_its_own(tmp_path, capfd, compression):
    Image.fromarray(noise(3)).save(tmp_path / "a.tif", compression=compression)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[300:320] = bytes(range(235, 255))
    with pytest.raises(SegmentError, match=r"^cannot read the image [^\n]*$"):
        rgb(tmp_path / "a.tif", bytes(content))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("bands", "bits"), [(3, 8), (4, 8), (1, 16)])
def test_rows_that_are_missing_are_no_zeros(tmp_path, bands, bits):
    """PIL reads the rows that an uncompressed file lacks as zeros."""
    content = bytearray(tiff(noise(bands, bits), photometric=2 if bands > 2 else 1))
    place = content.index(struct.pack("<HHLL", 257, 4, 1, 9))
    content[place + 8 : place + 12] = struct.pack("<L", 4096)
    with pytest.raises(SegmentError, match="its pixels take"):
        rgb(tmp_path / "a.tif", bytes(content))
