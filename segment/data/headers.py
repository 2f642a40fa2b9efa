"""Headers of image files: facts that are known before the pixels are decoded."""

import os
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from segment.data.array_masks import ARRAY_SUFFIXES, load_plane
from segment.data.png import PNG, PngHeader, may_have_exif
from segment.data.tiff import bands_header, check_pixels, check_rows

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
"""PIL's names of the formats that are read, found by content."""
ORIENTATION = 0x0112
"""EXIF's tag of an image's orientation."""


class ImageHeader(NamedTuple):
    """Facts about an image file.

    Args:
        size: (width, height), upright.
        mode: PIL's mode, or "bands" where PIL would lose values.
        format: PIL's name of the format.
        orientation: EXIF's orientation, 1 to 8; 1 is upright.
        depth: number of bits of a value, 16 or less.
        bands: number of bands, without transparency; 3 also where they are equal, as in a grey image.
        palette: the colours of a palette image, three bytes each.
        more_pages: True if there are further images, as in a TIFF of several pages or an animated GIF.
        lossy: name of a compression that changes values, empty if there is none.
    """

    size: tuple[int, int]
    mode: str
    format: str | None
    orientation: int
    depth: int = 8
    bands: int = 3
    palette: bytes | None = None
    more_pages: bool = False
    lossy: str = ""

    @property
    def swapped(self) -> bool:
        """True if the stored pixels lie on their side."""
        return self.orientation >= 5


def open_image(source: Path | IO[bytes]) -> Image.Image:
    """Open an image of a common format, whatever its suffix: PIL's reader of PostScript would start Ghostscript.

    Raises:
        ValueError: it is no regular file, or the rows of a TIFF are not all there. PIL would read the others as zeros.
    """
    if isinstance(source, Path):
        check_regular(source)
    image = Image.open(source, formats=FORMATS)
    if isinstance(image, TiffImageFile):
        check_rows(image.tag_v2)
    return image


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: opening a named pipe would wait for a writer.

    Raises:
        ValueError: it is a folder, a named pipe or a device.
    """
    if not path.is_file() and path.exists():
        raise ValueError("it is not a regular file")


def open_file(path: Path) -> IO[bytes]:
    """Open a regular file of a size that an image can have.

    Raises:
        ValueError: see :func:`check_regular`, or it has more than 16 bytes for each pixel that is allowed.
    """
    check_regular(path)
    file, allowed = path.open("rb"), 16 * (Image.MAX_IMAGE_PIXELS or 2**59)
    if (size := os.fstat(file.fileno()).st_size) > allowed:
        file.close()
        raise ValueError(f"it has {size:,} bytes, and {allowed:,} are allowed for an image")
    return file


def read_content(path: Path) -> bytes:
    """Return the content of an image or mask, see :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


def image_header(path: Path) -> ImageHeader:
    """Return the header of an image. A damaged file may raise anything."""
    with open_file(path) as file:
        if bands := bands_header(file):
            check_pixels(bands)
            size = (bands.height, bands.width) if bands.orientation >= 5 else (bands.width, bands.height)
            count = 3 if bands.bands == 1 else bands.bands
            return ImageHeader(size, "bands", "TIFF", bands.orientation, bands.depth, count, None, bands.tags.next > 0)
    return mask_header(path)


def mask_header(path: Path) -> ImageHeader:
    """Return the header of a mask, as PIL or NumPy reads it. A damaged file may raise anything."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        height, width = load_plane(path, "r").shape
        return ImageHeader((width, height), "L", "NPY", 1)
    with open_file(path) as file:
        content = file.read() if file.read(len(PNG)) == PNG else b""
        file.seek(0)
        with open_image(file) as image:
            exif = Image.Image.getexif(image) if content and not may_have_exif(content) else image.getexif()
            orientation = exif.get(ORIENTATION, 1)
            orientation = orientation if orientation in range(1, 9) else 1
            swapped = orientation >= 5 and image.format != "TIFF"  # PIL gives a TIFF's upright size
            more = image.format != "MPO" and getattr(image, "n_frames", 1) > 1  # a phone's JPEG may hold a preview
            depth = PngHeader.from_bytes(PNG + content).depth if content else 16 if image.mode.startswith("I;16") else 8
            size = image.size[::-1] if swapped else image.size
            return ImageHeader(
                size, image.mode, image.format, orientation, depth, 3, _palette(image), more, _lossy(image, file)
            )


def _lossy(image: Image.Image, file: IO[bytes]) -> str:
    """Return the name of the compression of an open file if it is lossy."""
    if image.format == "TIFF":
        return "JPEG in a TIFF" if "jpeg" in str(image.info.get("compression")) else ""
    if image.format == "WEBP":
        file.seek(12)  # behind RIFF, size and WEBP; chunks follow, each a kind and a size
        while len(chunk := file.read(8)) == 8 and not chunk.startswith(b"VP8L"):
            if chunk.startswith(b"VP8 "):
                return "lossy WebP"
            file.seek((int.from_bytes(chunk[4:], "little") + 1) // 2 * 2, 1)
    if image.format == "JPEG2000":
        file.seek(0)
        start = file.read(4096)
        at = start.find(b"\xff\x52")  # the segment that names the wavelet; 0 is the one that rounds
        return "lossy JPEG 2000" if at >= 0 and start[at + 13 : at + 14] == b"\0" else ""
    return "JPEG" if image.format == "JPEG" else ""


def _palette(image: Image.Image) -> bytes | None:
    """Return the colours of a palette image. PIL's ``getpalette`` would decode the pixels."""
    if image.mode != "P" or image.palette is None:
        return None
    empty = Image.new("P", (1, 1))
    empty.putpalette(image.palette.palette, image.palette.rawmode or image.palette.mode)
    return bytes(empty.getpalette() or [])


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return stored values (H,W,...) upright, given their EXIF orientation."""
    values = values.swapaxes(0, 1) if orientation >= 5 else values
    values = values[:, ::-1] if orientation in {2, 3, 6, 7} else values
    return values[::-1] if orientation in {3, 4, 7, 8} else values
