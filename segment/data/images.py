"""Image files: reading, checking and fingerprints."""

import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from segment.data.headers import image_header, open_file, open_image, read_content, turn
from segment.data.png import PNG, PngHeader, unpack_png
from segment.data.tiff import bands_header, check_pixels, read_bands
from segment.errors import SegmentError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG file."""
PIECES, PIECE = 4, 2**12
"""Number of pieces that :func:`image_fingerprint` reads of a compressed image, and the size of each in bytes."""


@dataclass
class Reading:
    """Choices of how files become images and masks. All data sets of a data module share one object.

    Args:
        bands: three numbers, from 0, of the bands that are red, green and blue; None for the first three.
        bits: depth of the values that files of 16 bits hold, 8 to 16; None for all 16.
        mask_exif: "own" if a mask is turned by its own EXIF orientation alone; "image" if its image's is applied to a
            mask that has none.

    Raises:
        SegmentError: a value is out of range.

    Example:
        >>> Reading(bands=[3, 0, 1], bits=12).bands
        [3, 0, 1]
    """

    bands: Sequence[int] | None = None
    bits: int | None = None
    mask_exif: str = "own"

    def __post_init__(self) -> None:
        bands = self.bands is None or (len(self.bands) == 3 and all(isinstance(n, int) and n >= 0 for n in self.bands))
        if not bands or self.bits not in {None, *range(8, 17)} or self.mask_exif not in {"own", "image"}:
            raise SegmentError(
                "data: expected bands=[RED,GREEN,BLUE] (numbers from 0) or null, bits from 8 to 16 or null, and "
                f"mask_exif=own or image, but got {self.bands}, {self.bits} and {self.mask_exif}"
            )

    def complete(self, other: "Reading") -> None:
        """Take the choices of bands and bits from another reading where this one has none."""
        self.bands, self.bits = self.bands or other.bands, self.bits or other.bits

    def choose(self, values: np.ndarray) -> np.ndarray:
        """Return red, green and blue (H,W,3) of bands (H,W,N). If there are one or two, the first one is grey.

        Raises:
            ValueError: there are fewer bands than ``bands`` says.
        """
        if values.shape[2] == 1:
            values = np.repeat(values, 3, axis=2)
        count = values.shape[2]
        bands = self.bands or ([0, 1, 2] if count > 2 else [0, 0, 0])
        if max(bands) >= count:
            raise ValueError(f"it has the bands 0 to {count - 1}, and data.bands={[*bands]}")
        return values if list(bands) == [*range(count)] else values[..., list(bands)]

    def to_bytes(self, values: np.ndarray) -> np.ndarray:
        """Return values of 8 or 16 bits as uint8: all images of a data set are scaled by one power of two.

        Raises:
            ValueError: a value has more than ``bits`` bits.
        """
        if values.dtype.itemsize == 1:
            return values
        bits = self.bits or 16
        if (largest := int(values.max(initial=0))) >= 2**bits:
            raise ValueError(f"it holds {largest}, and data.bits={bits} means 0 to {2**bits - 1}")
        return (values >> (bits - 8)).astype(np.uint8)


class Stored(NamedTuple):
    """Upright pixels as a file holds them: bands (H,W,N) of 8 or 16 bits, and the opacity uint8 (H,W)."""

    bands: np.ndarray
    white_is_zero: bool = False
    alpha: np.ndarray | None = None


def read_image(path: Path, reading: Reading | None = None) -> Tensor:
    """Read any image file as uint8 (3,H,W) RGB, upright according to its EXIF orientation; see :func:`to_rgb`.

    Raises:
        SegmentError: the file is missing, truncated or not an image, or does not have what ``reading`` says.
    """
    reading = reading or Reading()
    try:
        with open_file(path) as file:
            if file.read(len(JPEG)) == JPEG:  # whatever the suffix; twice as fast as PIL
                file.seek(0)
                content = torch.from_numpy(np.fromfile(file, np.uint8))
                pixels = decode_image(content, ImageReadMode.RGB, apply_exif_orientation=True).permute(1, 2, 0).numpy()
                return torch.from_numpy(reading.choose(pixels)).permute(2, 0, 1)
        return torch.from_numpy(_read_rgb(path, reading)).permute(2, 0, 1)
    except Exception as error:  # a damaged file may raise anything: EOFError, zlib.error, struct.error, ...
        raise _unreadable(path, error) from None


def _read_rgb(path: Path, reading: Reading) -> np.ndarray:
    stored = _read_stored(path)
    values = reading.to_bytes(reading.choose(stored.bands))
    if stored.alpha is not None:
        return np.array(to_rgb(Image.fromarray(np.dstack([values, stored.alpha]))))
    return np.ascontiguousarray(255 - values if stored.white_is_zero else values)


def _read_stored(path: Path) -> Stored:
    """Read a file's own values if it has 16 bits or bands, else what :func:`to_rgb` makes of them."""
    content = read_content(path)
    if header := bands_header(io.BytesIO(content)):
        check_pixels(header)
        return Stored(turn(read_bands(content, header), header.orientation), header.white_is_zero)
    if content.startswith(PNG):
        unpack_png(content)
        if PngHeader.from_bytes(content).depth == 16:  # PIL keeps 8 bits of colours
            pixels = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), apply_exif_orientation=True)
            values = pixels.permute(1, 2, 0).numpy()
            if values.shape[2] in {1, 3}:
                return Stored(values)
            return Stored(values[..., :-1], alpha=(values[..., -1] >> 8).astype(np.uint8))
    with open_image(io.BytesIO(content)) as image:
        if image.mode.startswith("I;16"):
            return Stored(np.asarray(ImageOps.exif_transpose(image))[..., None])
        if image.mode == "I":
            raise ValueError("its numbers have 32 bits, or a sign, and an unknown scale: save it with 8 or 16 bits")
        return Stored(np.array(to_rgb(image)))


def largest_value(path: Path, reading: Reading) -> int:
    """Return the largest value that an image of 16 bits holds in its chosen bands.

    Raises:
        SegmentError: see :func:`read_image`.
    """
    try:
        return int(reading.choose(_read_stored(path).bands).max(initial=0))
    except Exception as error:
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


def to_rgb(image: Image.Image, reading: Reading | None = None) -> Image.Image:
    """Return an image of any mode as RGB, upright; the first frame of several.

    Transparent pixels are blended with white, but not those of a TIFF, whose fourth band may mean anything. The upper 8
    of 16 bits are kept, or those that ``reading`` says. Floats are scaled from 0..1 to 0..255 unless a value is above
    1. PIL would clip 16 bits and floats at 255.
    """
    transparent = image.format != "TIFF" and image.has_transparency_data
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((reading or Reading()).to_bytes(np.asarray(image)))
    elif image.mode in {"I", "F"}:
        values = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)  # NaN and infinity become black
        if image.mode == "F":
            scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        else:
            scale = 1 / 256 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    elif transparent:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def check_header(path: Path) -> None:
    """Check an image's header before it is read: at most ``PIL.Image.MAX_IMAGE_PIXELS`` pixels are allowed.

    Raises:
        SegmentError: the image has more pixels, or the file is not an image.
    """
    try:
        image_header(path)
    except Image.DecompressionBombError as error:
        found, allowed = re.findall(r"\d+", str(error))[:2]
        raise SegmentError(
            f"cannot read the image {path}: it has {found} pixels, and {allowed} are allowed; segment.predict sets "
            "that by inference.max_memory, a program by PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from None


def read_failure(error: Exception) -> str:
    """Return the reason why an image or mask cannot be read, in a few words."""
    reason = str(error).split(", could be")[0]  # PIL adds that it could be a decompression bomb
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no image, or of an unknown kind"
    elif isinstance(error, MemoryError):
        reason = "it needs more memory than there is"
    elif isinstance(error, AssertionError):  # PIL's, without a message
        reason = "it is damaged"
    elif isinstance(error, RuntimeError):
        reason = re.sub(r"^.*(\.cpp:\d+, |\] )", "", reason)  # the place in torchvision's sources
    return (reason or type(error).__name__).splitlines()[0]


def _unreadable(path: Path, error: Exception) -> SegmentError:
    return SegmentError(f"cannot read the image {path}: {read_failure(error)}")
