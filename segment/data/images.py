"""Image files: reading, checking and fingerprints."""

import hashlib
import os
import re
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from segment.errors import SegmentError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
"""PIL's names of the formats that are read, found by content."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of a JPEG and of a PNG file."""
PIECES, PIECE = 4, 2**12
"""Number of pieces that :func:`image_fingerprint` reads of a compressed image, and the size of each in bytes."""


class PngHeader(NamedTuple):
    """Header of a PNG file (PNG specification, section 11.2.2)."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: int

    @classmethod
    def from_bytes(cls, content: bytes) -> "PngHeader":
        """Return the header of a PNG file's content."""
        return cls(*struct.unpack_from(">IIBBxxB", content, 16))

    def row_bytes(self) -> int:
        """Return the number of bytes of all unpacked rows, including one byte per row for its filter."""
        bits = self.depth * {2: 3, 4: 2, 6: 4}.get(self.colour, 1)
        # Passes of the picture, each as first and every n-th column and row: the seven of Adam7, or one of all pixels.
        passes = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]
        total = 0
        for left, right, top, down in passes if self.interlaced else [(0, 1, 0, 1)]:
            columns, rows = len(range(left, self.width, right)), len(range(top, self.height, down))
            total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
        return total


def open_image(source: Path | IO[bytes]) -> Image.Image:
    """Open an image of a common format, whatever its suffix: PIL's reader of PostScript would start Ghostscript."""
    return Image.open(source, formats=FORMATS)


def read_image(path: Path) -> Tensor:
    """Read any image file as uint8 (3,H,W) RGB, upright according to its EXIF orientation; see :func:`to_rgb`.

    Raises:
        SegmentError: the file is missing, truncated or not an image.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(PNG))
            file.seek(0)
            if start.startswith(JPEG):  # whatever the suffix; twice as fast as PIL
                content = torch.from_numpy(np.fromfile(file, np.uint8))
                return decode_image(content, ImageReadMode.RGB, apply_exif_orientation=True)
            if start == PNG:
                unpack_png(file.read())
        with open_image(path) as image:
            return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    except Exception as error:  # a damaged file may raise anything: EOFError, zlib.error, struct.error, ...
        raise _unreadable(path, error) from None


def image_fingerprint(path: Path) -> str:
    """Return a hash of an image file's content, which identifies the image under any name.

    For a JPEG, PNG or WebP the hash covers the size and four pieces of 4 KiB: the start, two between, and the end.
    Compressed images that differ do so nearly everywhere. Any other file is hashed whole.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(PIECE)
        compressed = start.startswith((JPEG, PNG)) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")
        if not compressed or size <= PIECES * PIECE:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        found = hashlib.sha256(str(size).encode() + start)
        for piece in range(1, PIECES):
            file.seek((size - PIECE) * piece // (PIECES - 1))
            found.update(file.read(PIECE))
        return found.hexdigest()[:16]


def unpack_png(content: bytes) -> bytes:
    """Return the unpacked rows of a PNG, still filtered, each behind its filter's number (PNG specification, 7.2).

    Every chunk's checksum is verified (section 5.3) and the rows are counted. A damaged file must not get further:
    PIL silently makes up the missing pixels, and torchvision 0.29 ends the process.

    Raises:
        ValueError: a chunk is cut off or has a wrong checksum, or there are fewer rows than the header says.
        zlib.error: the rows can't be unpacked.
    """
    start, kind, parts = len(PNG), b"", []
    while kind != b"IEND":
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")  # length, kind, content, checksum
        kind = content[start + 4 : start + 8]
        if end + 4 > len(content):
            raise ValueError("the file is cut off")
        if zlib.crc32(memoryview(content)[start + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise ValueError(f"it is damaged: the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        if start == len(PNG) and (kind != b"IHDR" or end - start != 8 + 13):
            raise ValueError("it is damaged: it does not begin with a header")
        if kind == b"IDAT":
            parts.append(content[start + 8 : end])
        start = end + 4
    expected = PngHeader.from_bytes(content).row_bytes()
    if not expected:  # 0 would mean "no limit" below
        raise ValueError("it is damaged: its header says that it has no pixels")
    rows = zlib.decompressobj().decompress(b"".join(parts), min(expected, 2**40))
    if len(rows) < expected:
        raise ValueError(f"it is damaged: {len(rows)} bytes of its pixels are there, {expected} were expected")
    return rows


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB, upright; the first frame of several.

    Transparent pixels are blended with white. Of 16 bits the upper 8 are kept. Floats are scaled from 0..1 to 0..255
    unless a value is above 1. PIL would clip 16 bits and floats at 255.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)  # NaN and infinity become black
        if image.mode == "F":
            scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        else:
            scale = 1 / 256 if image.mode != "I" or values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def check_header(path: Path) -> None:
    """Check an image's header, before it is read: at most ``PIL.Image.MAX_IMAGE_PIXELS`` pixels are allowed.

    Raises:
        SegmentError: the image has more pixels, or the file is not an image.
    """
    try:
        with open_image(path):
            pass
    except Image.DecompressionBombError as error:
        found, allowed = re.findall(r"\d+", str(error))[:2]
        raise SegmentError(
            f"cannot read the image {path}: it has {found} pixels, and {allowed} are allowed; segment.predict sets "
            "that by inference.max_memory, a program by PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> SegmentError:
    reason = str(error).split(", could be")[0]  # PIL adds that it could be a decompression bomb
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no image, or of an unknown kind"
    elif isinstance(error, RuntimeError):
        reason = re.sub(r"^.*(\.cpp:\d+, |\] )", "", reason)  # the place in torchvision's sources
    return SegmentError(f"cannot read the image {path}: {reason or type(error).__name__}")
