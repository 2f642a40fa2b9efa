"""Image files of any kind as people see them: upright, in colour, 8 bits, on white where they are transparent."""

import hashlib
import os
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from segment.errors import SegmentError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
"""What such files begin with."""


PIECES, PIECE = 4, 2**12
"""Number of pieces that :func:`image_fingerprint` reads of a compressed image, and the size of each in bytes."""


class PngHeader(NamedTuple):
    """What a PNG says of itself (its specification, section 11.2.2)."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: int

    @classmethod
    def of(cls, content: bytes) -> "PngHeader":
        """The header of a file that begins with one."""
        return cls(*struct.unpack_from(">IIBBxxB", content, 16))

    def row_bytes(self) -> int:
        """How many bytes it promises: those of the rows, each with one for its filter."""
        bits = self.depth * {2: 3, 4: 2, 6: 4}.get(self.colour, 1)
        # The parts of the picture, by first and every n-th column and row: the seven of Adam7, or all of it.
        parts = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]
        total = 0
        for left, right, top, down in parts if self.interlaced else [(0, 1, 0, 1)]:
            columns, rows = len(range(left, self.width, right)), len(range(top, self.height, down))
            total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
        return total


def read_image(path: Path) -> Tensor:
    """Read any image file as uint8 (3,H,W) RGB, turned upright as its EXIF orientation says; see :func:`to_rgb`.

    Raises:
        SegmentError: the file is missing, truncated or no image.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(PNG))
            file.seek(0)
            if start.startswith(JPEG):  # whatever its suffix; twice as fast as PIL
                content = torch.from_numpy(np.fromfile(file, np.uint8))
                return decode_image(content, ImageReadMode.RGB, apply_exif_orientation=True)
            if start == PNG:
                unpack_png(file.read())
        with Image.open(path) as image:
            return torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    except Exception as error:  # a broken file may raise anything: EOFError, zlib.error, struct.error, ...
        raise _unreadable(path, error) from None


def image_fingerprint(path: Path) -> str:
    """Return a hash of an image file's content, by which the image is found again under another name.

    For a JPEG, PNG or WebP it covers the size and four pieces of 4 KiB, at the start, at the end and two between:
    compressed images that differ do so nearly everywhere. Any other file is hashed whole.
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
    """The rows of a PNG as its filters left them, each behind the filter's number (its specification, section 7.2).

    Each chunk is checked (section 5.3) and the rows are counted: a damaged file is read without a word by PIL, which
    makes up what is missing, and torchvision 0.29 ends the process.

    Raises:
        ValueError: a chunk is cut off or its checksum is another; or there are fewer rows than the header promises.
        zlib.error: they can't be unpacked.
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
    expected = PngHeader.of(content).row_bytes()
    if not expected:  # which would mean no bound below
        raise ValueError("it is damaged: its header promises no pixels")
    rows = zlib.decompressobj().decompress(b"".join(parts), min(expected, 2**40))  # no more, whatever there is
    if len(rows) < expected:
        raise ValueError(f"it is damaged: {len(rows)} bytes of its pixels are there, {expected} were expected")
    return rows


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, upright; of several frames the first.

    What is transparent is laid on white. Of 16 bits the upper 8 count, of floats the range from 0 to 1 if there is
    nothing beyond, where PIL would clip both at 255.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)  # what is no number is black
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
    """Refuse a file whose header promises more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` allows, before it is read.

    Raises:
        SegmentError: it does, or there is no image in the file.
    """
    try:
        with Image.open(path):
            pass
    except Image.DecompressionBombError as error:
        promised, allowed = re.findall(r"\d+", str(error))[:2]
        raise SegmentError(
            f"cannot read the image {path}: it has {promised} pixels, and {allowed} are allowed; segment.predict sets "
            "that by inference.max_memory, a program by PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> SegmentError:
    reason = str(error).split(", could be")[0]  # ... a decompression bomb, PIL says
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no image, or of a kind that is not known"
    elif isinstance(error, RuntimeError):
        reason = re.sub(r"^.*(\.cpp:\d+, |\] )", "", reason)  # where in torchvision's sources
    return SegmentError(f"cannot read the image {path}: {reason or type(error).__name__}")
