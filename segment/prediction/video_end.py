"""The end of a video's file: whether the file has all that its own structure announces."""

import os
from pathlib import Path
from typing import IO

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
"""First bytes of Matroska and WebM, and of the element in them that holds everything else."""
BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
"""Kinds of the boxes that an MP4 or MOV file may begin with."""


def ending(path: Path) -> str:
    """Return how a video's file ends.

    Returns:
        "cut off" if it announces more than it has, "no index" if it is an MP4 or MOV that nothing can be read of,
        "open" if it is a Matroska file that was streamed or not closed, and "" otherwise.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in BOXES:
            return _end_of_boxes(file, size)
        if head.startswith(b"RIFF"):
            return "cut off" * (int.from_bytes(head[4:8], "little") + 8 > size)
        return _end_of_segment(file, size) if head.startswith(EBML) else ""


def _end_of_boxes(file: IO[bytes], size: int) -> str:
    position, kinds = 0, []
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        kinds.append(head[4:8])
        if length == 1:  # the length follows, in eight bytes
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: up to the end of the file
            position = size
            break
        position += length
    is_short = position != size
    if b"moov" not in kinds[: -1 if is_short else None]:
        return "no index"
    return "cut off" * (is_short or kinds[-1] == b"moof")


def _end_of_segment(file: IO[bytes], size: int) -> str:
    file.seek(len(EBML))
    length, _ = _read_size(file)
    file.seek(length, os.SEEK_CUR)
    if file.read(len(SEGMENT)) != SEGMENT:
        return "cut off"
    length, is_unknown = _read_size(file)
    if is_unknown:
        return "open"
    return "cut off" * (file.tell() + length > size)


def _read_size(file: IO[bytes]) -> tuple[int, bool]:
    """Return a size of EBML, and whether it says that the size is unknown.

    The zero bits before the first one are the number of bytes that follow the first.
    """
    first = int.from_bytes(file.read(1), "big") or 1
    more = 8 - first.bit_length()
    value = int.from_bytes(bytes([first - (1 << (7 - more))]) + file.read(more), "big")
    return value, value == (1 << 7 * (more + 1)) - 1
