"""Archives are unpacked safely, and their folder is in place only when whole."""

import os
import shutil
import stat
import tarfile
import zipfile
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
        size, unit = (1e9, "GB") if needed > 1e8 else (1e6, "MB")
        amounts = f"{needed / size:.1f} {unit} are needed, {free / size:.1f} {unit} are free"
        raise SegmentError(f"the disk of {folder} is too full: {amounts}")


def unpack(archives: Sequence[Path], inside: str, target: Path) -> None:
    """Unpack archives and move their folder ``inside`` to ``target`` when all of it is there.

    Where the target is there already, what the archives hold is added to it.

    Raises:
        SegmentError: broken archive, a path that leaves the folder, a link, or no such folder in it.
    """
    # On the target's disk, and never outside of the folder that the archives are in.
    staging = (target if target == archives[0].parent else target.parent) / f".{target.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for archive in archives:
            _extract(archive, staging)
        if not (staging / inside).is_dir():
            raise SegmentError(f"{', '.join(map(str, archives))} holds no folder {inside}: is it another data set's?")
        _merge(staging / inside, target)
    except OSError as error:
        raise SegmentError(f"cannot unpack to {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _merge(source: Path, target: Path) -> None:
    if source.is_dir() and target.is_dir():
        for path in source.iterdir():
            _merge(path, target / path.name)
    else:
        os.replace(source, target)


def _extract(archive: Path, folder: Path) -> None:
    print(f"unpacking {archive}")
    try:
        for name, size, content in _members(archive):
            expect_room(folder, size)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
                if file.tell() != size:
                    raise EOFError(f"{name} has {file.tell()} bytes instead of {size}")
    except Exception as error:  # the libraries raise whatever a broken archive makes them run into
        if isinstance(error, SegmentError) or (isinstance(error, OSError) and error.errno):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SegmentError(f"cannot unpack {archive}: {reason}; remove it and try again") from None


class _StrictMember(tarfile.TarInfo):
    """A tar's member; tarfile takes a broken one, or none at all, for the regular end, which is a block of zeros."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_StrictMember":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # not in typeshed; the block of zeros
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is cut off or damaged ({error})") from None


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Path, size and content of every file; anything but plain files and folders below the root is refused."""
    if tarfile.is_tarfile(archive):  # asked first: a tar that ends with a zip looks like a zip, too
        with tarfile.open(archive, tarinfo=_StrictMember) as tar:
            for member in tar:
                path = _safe(member.name, member.isreg() or member.isdir(), archive)
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield path, member.size, content
            while tar.fileobj is not None and tar.fileobj.read(CHUNK):
                pass  # to the end of a compressed stream, where its checksum is
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                path = _safe(entry.filename, kind in {0, stat.S_IFREG, stat.S_IFDIR}, archive)
                if not entry.is_dir():
                    yield path, entry.file_size, file.open(entry)
    else:
        raise EOFError("it is no tar or zip archive, or one that is cut off")


def _safe(name: str, plain: bool, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain or path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        what = "a path outside the folder" if plain else "a link or device"
        raise SegmentError(f"{archive} is refused: its member {name!r} is {what}; nothing of it was kept")
    return path
