"""The rows of PNG files are unpacked, or a damaged file is refused."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from segment.data import png


def with_pixels(content: bytes, change) -> bytes:
    """Return a PNG of one IDAT chunk with that chunk's content changed and its checksum correct."""
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    chunk = b"IDAT" + change(content[start + 4 : start + 4 + length])
    size, checksum = len(chunk) - 4, zlib.crc32(chunk)
    rest = content[start + 8 + length :]
    return content[: start - 4] + size.to_bytes(4, "big") + chunk + checksum.to_bytes(4, "big") + rest


@pytest.mark.parametrize("library", [png.decompressobj, zlib.decompressobj])
def test_rows_are_unpacked_with_zlib_ng_and_without(monkeypatch, library):
    monkeypatch.setattr(png, "decompressobj", library)
    values = np.random.default_rng(0).integers(0, 9, (40, 50), np.uint8)
    Image.fromarray(values).save(file := io.BytesIO(), "png")
    content = file.getvalue()
    expected = zlib.decompress(content[content.index(b"IDAT") + 4 : -16])
    assert png.unpack_png(content) == expected
    assert len(expected) == 40 * 51
    for change, message in (
        (lambda data: b"\x79" + data[1:], "damaged: Error -3"),
        (lambda data: data[:20] + bytes(20) + data[40:], "damaged"),
        (lambda data: data[:-30], r"damaged: \d+ bytes of its pixels are there, 2040 were expected"),
    ):
        with pytest.raises(ValueError, match=message):
            png.unpack_png(with_pixels(content, change))
