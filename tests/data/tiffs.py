"""TIFF files of kinds that PIL does not write."""

import struct
import zlib

import numpy as np


def tiff(
    values: np.ndarray,
    order: str = "<",
    photometric: int = 2,
    planar: bool = False,
    differences: bool = False,
    tile: int = 0,
    orientation: int = 1,
) -> bytes:
    """Return a TIFF of bands (H,W,N) of 8 or 16 bits (TIFF 6.0).

    Args:
        order: of the bytes, "<" or ">".
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        planar: each band on its own.
        differences: deflated, each value as the difference from its left neighbour.
        tile: side of a tile; 0 for strips of four rows.
        orientation: as in EXIF.
    """
    height, width, bands = values.shape
    planes = np.split(values, bands, axis=2) if planar else [values]
    down, right = (tile, tile) if tile else (4, width)
    blocks = [
        np.pad(part, ((0, tile and tile - part.shape[0]), (0, tile and tile - part.shape[1]), (0, 0)))
        for plane in planes
        for y in range(0, height, down)
        for x in range(0, width, right)
        for part in [plane[y : y + down, x : x + right]]
    ]
    if differences:
        blocks = [np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1])) for block in blocks]
    coded = [block.astype(block.dtype.newbyteorder(order)).tobytes() for block in blocks]
    coded = [zlib.compress(one) for one in coded] if differences else coded
    sizes = [len(one) for one in coded]
    offsets = [8 + sum(sizes[:i]) for i in range(len(sizes))]
    tags = {256: [width], 257: [height], 258: [8 * values.itemsize] * bands, 259: [8 if differences else 1]}
    tags |= {262: [photometric], 274: [orientation], 277: [bands], 284: [1 + planar], 317: [1 + differences]}
    tags |= {322: [tile], 323: [tile], 324: offsets, 325: sizes} if tile else {273: offsets, 278: [4], 279: sizes}
    body = b"".join(coded)
    start = 8 + len(body)
    lists, entries = b"", b""
    for tag, numbers in sorted(tags.items()):
        data = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            data, lists = struct.pack(order + "I", start + 6 + 12 * len(tags) + len(lists)), lists + data
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + data
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4) + lists


def png(values: np.ndarray, depth: int) -> bytes:
    """Return a PNG of values (H,W,N) of ``depth`` bits: grey, grey with alpha, RGB or RGBA."""
    height, width, channels = values.shape
    if depth < 8:
        bits = np.unpackbits(values.astype(np.uint8), axis=2).reshape(height, width, 8)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        rows = values.astype(f">u{depth // 8}").reshape(height, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    pixels = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )
