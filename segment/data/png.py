"""PNG files: their header, and the verification that torchvision's decoder needs."""

import struct
import zlib
from typing import NamedTuple

try:
    from zlib_ng.zlib_ng import decompressobj  # unpacks a mask in an eighth of zlib's time
except ImportError:  # no wheel for this platform, or an environment that was made by hand
    from zlib import decompressobj  # type: ignore[assignment]

PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG file."""


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


def unpack_png(content: bytes) -> bytes:
    """Return the unpacked rows of a PNG, still filtered, each preceded by its filter byte (PNG specification, 7.2).

    Every chunk's checksum is verified (section 5.3) and the rows are counted. A damaged file must not get further:
    PIL silently makes up the missing pixels, and torchvision 0.29 ends the process.

    Raises:
        ValueError: a chunk is cut off or has a wrong checksum, the rows cannot be unpacked, or there are fewer than the
            header says.
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
    try:
        rows = decompressobj().decompress(b"".join(parts), min(expected, 2**40))
    except Exception as error:  # each library has a class of its own
        raise ValueError(f"it is damaged: {error}") from None
    if len(rows) < expected:
        raise ValueError(f"it is damaged: {len(rows)} bytes of its pixels are there, {expected} were expected")
    return rows


def may_have_exif(content: bytes) -> bool:
    """Return False if a PNG certainly has no EXIF data, which may lie in one of three places."""
    return any(word in content for word in (b"eXIf", b"Raw profile type exif", b"com.adobe.xmp"))
