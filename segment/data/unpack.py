"""Archives are unpacked safely, and their folder is in place only when whole."""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from segment.errors import SegmentError

CHUNK = 1 << 20
"""Bytes that are copied at a time."""


def expect_room(folder: Path, needed: int) -> None:
    """Stop early where a disk has fewer bytes left than are needed.

    Raises:
        SegmentError: it has.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SegmentError(
            f"the disk of {folder} is too full: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        )


def unpack(archives: Sequence[Path], inside: str, target: Path) -> None:
    """Unpack archives and move their folder ``inside`` to ``target`` when all of it is there.

    Raises:
        SegmentError: broken archive, a path that leaves the folder, a link, or no such folder in it.
    """
    staging = target.parent / f".{target.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for archive in archives:
            print(f"unpacking {archive}")
            for name, size, content in _members(archive):
                expect_room(staging, size)
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
        if not (staging / inside).is_dir():
            raise SegmentError(f"{archives[0]} holds no folder {inside}: is it another data set's?")
        os.replace(staging / inside, target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SegmentError(f"cannot unpack {archives[0]}: {error}; remove it and try again") from None
    except OSError as error:
        raise SegmentError(f"cannot unpack to {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Path, size and content of every file; anything but plain files and folders below the root is refused."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                link = entry.external_attr >> 16 & 0o170000 == 0o120000
                path = _safe(entry.filename, link, archive)
                if not entry.is_dir():
                    yield path, entry.file_size, file.open(entry)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = _safe(member.name, not (member.isreg() or member.isdir()), archive)
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield path, member.size, content


def _safe(name: str, link: bool, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if link or path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        what = "a link or device" if link else "a path outside the folder"
        raise SegmentError(f"{archive} is refused: its member {name!r} is {what}; nothing of it was kept")
    return path
