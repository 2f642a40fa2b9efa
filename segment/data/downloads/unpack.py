"""Unpack archives safely: nothing is written outside the target folder, and the target appears only when complete."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from segment.errors import SegmentError

BLOCK_BYTES = 1 << 20
"""Number of bytes that are read or copied at a time."""

BOMB_BYTES, BOMB_RATIO = 2**30, 100
"""A zip that unpacks to more bytes, and to more times its own size, is refused; photos and masks hardly grow."""


def require_space(folder: Path, needed: int) -> None:
    """Check that the disk of a folder has enough free bytes.

    Raises:
        SegmentError: fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        size, unit = (1e9, "GB") if needed > 1e8 else (1e6, "MB")
        amounts = f"{needed / size:.1f} {unit} are needed, {free / size:.1f} {unit} are free"
        raise SegmentError(f"the disk of {folder} is too full: {amounts}")


def unpack(archives: Sequence[Path], inside: str, target: Path) -> None:
    """Unpack archives together, then move their folder ``inside`` to ``target``.

    If the target exists, the files are added to it.

    Raises:
        SegmentError: an archive is damaged, has a link or a path outside the folder, or no archive has ``inside``.
    """
    # On the target's disk, so that moving is fast, and never outside the folder that the archives are in.
    staging = (target if target == archives[0].parent else target.parent) / f".{target.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for archive in archives:
            _extract(archive, staging)
        if not (staging / inside).is_dir():
            raise SegmentError(
                f"expected a folder {inside} in {', '.join(map(str, archives))}, found none: is it another data set's?"
            )
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
        for name, size, content in _files_in(archive):
            require_space(folder, size)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file, BLOCK_BYTES)
                if file.tell() != size:
                    raise EOFError(f"{name} has {file.tell()} bytes instead of {size}")
    except Exception as error:  # a damaged archive makes the libraries raise all kinds of errors
        if isinstance(error, SegmentError) or (isinstance(error, OSError) and error.errno):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SegmentError(f"cannot unpack {archive}: {reason}; remove it and try again") from None


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is read strictly.

    tarfile treats a damaged or missing header as the end of the archive. The real end is a block of zeros.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # not in typeshed; the block of zeros
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is cut off or damaged ({error})") from None


def tar_members(
    path: Path, mode: Literal["r:*", "r:", "r:gz"] = "r:*"
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield each member of a tar file with its content, which is None unless the member is a file.

    The file is read to its end, where a compressed one has its checksum. If all members are yielded, the archive is
    complete. A member's content must be read before the next member is requested.

    Args:
        mode: compressions that are accepted, as in ``tarfile.open``: "r:*" for any, "r:" for none, "r:gz" for gzip.

    Raises:
        Exception: the file is no tar, is damaged or cut off, or other data follows; tarfile and the compressions'
            libraries raise many kinds.
    """
    with tarfile.open(path, mode, tarinfo=_StrictTarInfo) as archive:
        for member in archive:
            yield member, archive.extractfile(member) if member.isfile() else None
        while rest := archive.fileobj.read(BLOCK_BYTES):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("other data follows the end of the tar")


def _files_in(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Yield path, size and content of every file of a tar or zip; refuse links, devices and paths outside the root."""
    if tarfile.is_tarfile(archive):  # first, since a tar that ends with a zip looks like a zip, too
        for member, content in tar_members(archive):
            path = _safe_path(member.name, member.isfile() or member.isdir(), archive)
            if content is not None:
                yield path, member.size, content
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            total = sum(entry.file_size for entry in file.infolist())
            if total > max(BOMB_BYTES, BOMB_RATIO * archive.stat().st_size):
                raise SegmentError(
                    f"{archive} is refused: it would grow to {total / 1e9:.1f} GB, {BOMB_RATIO} times its size or "
                    "more; unpack it yourself if you trust it"
                )
            for entry in file.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                path = _safe_path(entry.filename, kind in {0, stat.S_IFREG, stat.S_IFDIR}, archive)
                if not entry.is_dir():
                    yield path, entry.file_size, file.open(entry)
    else:
        raise EOFError("it is no tar or zip archive, or it is cut off")


def _safe_path(name: str, is_plain: bool, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if not is_plain or path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        fault = "a path outside the folder" if is_plain else "a link or device"
        raise SegmentError(f"{archive} is refused: its member {name!r} is {fault}; nothing of it was kept")
    return path
