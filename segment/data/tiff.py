"""TIFF files with any number of bands of 8 or 16 bits. PIL reads a few kinds of them, and only those of 8 bits."""

import ctypes
import io
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

BIG = b"II+\0"
"""First bytes of a BigTIFF, whose numbers have 8 bytes; PIL reads none of the other order of bytes."""
COLOUR_BANDS = {0: 1, 1: 1, 2: 3}
"""Number of bands that are colours, by photometric interpretation: white is zero, black is zero, RGB."""


def _silence_libtiff() -> None:
    """Let the libtiff of PIL's wheels print nothing: PIL raises an error for each file that it cannot decode."""
    folder = Path(Image.__file__).parent
    for path in (*folder.parent.glob("[Pp]illow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")):
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            with suppress(OSError, AttributeError):  # another build of libtiff
                getattr(ctypes.CDLL(str(path)), name)(None)


_silence_libtiff()


class BandsHeader(NamedTuple):
    """Header of a TIFF (TIFF 6.0, section 8).

    Args:
        tags: values by number.
        width, height: size of the stored pixels.
        bands: number of values of a pixel.
        depth: bits of a value, 8 or 16.
        colours: number of bands that are colours; the file need not say what the others mean.
        white_is_zero: True if 0 is white.
        orientation: as in EXIF.
    """

    tags: ImageFileDirectory_v2
    width: int
    height: int
    bands: int
    depth: int
    colours: int
    white_is_zero: bool
    orientation: int


def bands_header(file: IO[bytes]) -> BandsHeader | None:
    """Return the header of a file that is a TIFF of 16 bits, or of bands that are not just grey or RGB; else None."""
    start = file.read(8)
    if start[:4] not in {b"II*\0", b"MM\0*", BIG}:
        return None
    tags = ImageFileDirectory_v2(start + (file.read(8) if start[:4] == BIG else b""))
    file.seek(tags.next)
    tags.load(file)
    colours, bands = COLOUR_BANDS.get(tags.get(262, 0), 0), tags.get(277, 1)
    depths, kinds = {*tags.get(258, (1,))}, {*tags.get(339, (1,))}
    if not colours or kinds != {1} or depths not in ({8}, {16}) or (depths == {8} and bands == colours):
        return None
    check_rows(tags)
    orientation = tags.get(274, 1)
    return BandsHeader(
        tags,
        width=tags[256],
        height=tags[257],
        bands=bands,
        depth=max(depths),
        colours=colours,
        white_is_zero=tags.get(262, 0) == 0,
        orientation=orientation if orientation in range(1, 9) else 1,
    )


def check_pixels(header: BandsHeader) -> None:
    """Check that the bands have at most as many pixels as PIL allows an image.

    Raises:
        PIL.Image.DecompressionBombError: they have more.
    """
    pixels, allowed = header.width * header.height * header.bands, 2 * (Image.MAX_IMAGE_PIXELS or 2**62)
    if pixels > allowed:
        raise Image.DecompressionBombError(f"({pixels} pixels) exceeds limit of {allowed} pixels")


def check_rows(tags: ImageFileDirectory_v2) -> None:
    """Check that the strips or tiles of an uncompressed file hold all its rows; decoders find what others lack.

    Raises:
        ValueError: they do not.
    """
    sizes = tags.get(279) or tags.get(325)
    if not sizes or tags.get(259, 1) != 1 or tags.get(262) == 6:  # 6: YCbCr has fewer values of colours
        return
    needed = tags[257] * (tags[256] * sum(tags.get(258, (1,))) // 8)
    if sum(sizes) < needed:
        raise ValueError(f"its pixels take {needed} bytes, and it has {sum(sizes)}")


def read_bands(content: bytes, header: BandsHeader) -> np.ndarray:
    """Return the values uint8 or uint16 (H,W,bands) as they are stored.

    PIL and libtiff decode the strips or tiles: a directory that is added at the file's end describes them as one grey
    image whose rows hold the values of all bands. If the file keeps the bands apart ("planar"), each is one image.
    """
    tags, height, width, bands = header.tags, header.height, header.width, header.bands
    if tags.get(284, 1) == 2:
        planes = [_grey_view(content, header, 1, band) for band in range(bands)]
        return np.stack(planes, axis=-1)
    values = _grey_view(content, header, bands, 0).reshape(height, width, bands)
    if bands > 1 and tags.get(317, 1) == 2:  # each value is the difference from the pixel to the left in its tile
        step = tags.get(322, width)
        parts = [values[:, x : x + step].cumsum(1, values.dtype) for x in range(0, width, step)]
        values = np.concatenate(parts, axis=1)
    return values


def _grey_view(content: bytes, header: BandsHeader, factor: int, plane: int) -> np.ndarray:
    """Decode the strips or tiles of one plane as a grey image (H,W*factor)."""
    tags = header.tags
    view = {tag: (tags[tag],) for tag in (257, 259, 266, 278, 323) if tag in tags}  # among them compression and height
    view |= {256: (header.width * factor,), 258: (header.depth,), 262: (1,), 277: (1,)}
    view[317] = (tags.get(317, 1) if factor == 1 else 1,)
    if 322 in tags:
        view[322] = (tags[322] * factor,)
    for tag in (273, 279, 324, 325):  # offsets and sizes of strips and tiles
        if tag in tags:
            count = len(tags[tag]) // (header.bands // factor)
            view[tag] = tags[tag][plane * count : (plane + 1) * count]
    with Image.open(io.BytesIO(_with_directory(content, view)), formats=["TIFF"]) as image:
        values = np.array(image)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _with_directory(content: bytes, tags: Mapping[int, Sequence[int]]) -> bytes:
    """Return a TIFF's content with another directory, which lies behind the end (TIFF 6.0, section 2)."""
    order, big = "<" if content.startswith(b"II") else ">", content.startswith(BIG)
    number, count, kind = ("Q", "Q", 16) if big else ("L", "H", 4)
    content += bytes(len(content) % 2)
    entries, lists = b"", b""
    behind = len(content) + struct.calcsize(f"<{count}{number}") + len(tags) * struct.calcsize(f"<HH{number}{number}")
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{number}", *values)
        if len(values) > 1:
            data, lists = struct.pack(order + number, behind + len(lists)), lists + data
        entries += struct.pack(f"{order}HH{number}", tag, kind, len(values)) + data
    start = content[: 8 if big else 4] + struct.pack(order + number, len(content))
    directory = struct.pack(order + count, len(tags)) + entries + struct.pack(order + number, 0)
    return start + content[len(start) :] + directory + lists
