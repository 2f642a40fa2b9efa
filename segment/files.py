"""Files that are there with all of their content, or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from segment.errors import SegmentError

PARTS, PART = 16, 2**16
"""Number of parts that :func:`checkpoint_digest` reads of a large checkpoint, and the size of each in bytes."""


def user_path(given: Any, key: str) -> Path:
    """The path that a user gives as ``key``, with ``~`` as the home folder.

    Raises:
        SegmentError: it is empty.
    """
    if given is None or not str(given).strip():
        raise SegmentError(f"{key} is empty: give {key}=PATH")
    path = Path(str(given))
    with suppress(RuntimeError):  # of ~name where nobody is called so: it is a name like any other
        path = path.expanduser()
    return path


def printable(text: str) -> str:
    """What a file's name may hold (line ends, colours of a terminal, bytes that are no text), escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def whole_file(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that takes its place only when it is complete and on the disk.

    It is written as ``NAME.part`` in the same folder, so that moving it is one step of the file system's. What
    goes wrong leaves the earlier file as it was, and no ``.part``.

    Args:
        mode, options: as of ``open``.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def checkpoint_digest(path: Path) -> str:
    """Return a hash of a checkpoint: of a large one it covers the size and sixteen parts, the end among them."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= PARTS * PART:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        found = hashlib.sha256(str(size).encode())
        for part in range(PARTS):
            file.seek((size - PART) * part // (PARTS - 1))
            found.update(file.read(PART))
        return found.hexdigest()[:16]


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
