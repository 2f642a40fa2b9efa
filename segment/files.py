"""Files that are written completely or not at all, and paths as users give and read them."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from segment.errors import SegmentError

PARTS, PART = 16, 2**16
"""Number of parts of a large checkpoint that :func:`checkpoint_digest` reads, and the size of each in bytes."""


def user_path(given: Any, key: str) -> Path:
    """Return the path that a user gives for a key; ``~`` is the home folder.

    Raises:
        SegmentError: the path is empty.
    """
    if given is None or not str(given).strip():
        raise SegmentError(f"{key} is empty: give {key}=PATH")
    path = Path(str(given))
    with suppress(RuntimeError):  # no user has the name in "~name": it is a file's name
        path = path.expanduser()
    return path


def readable_file(given: Any, key: str) -> Path:
    """Return the path that a user gives for a key, see :func:`user_path`, once the file can be read.

    Raises:
        SegmentError: there is no such file, or it cannot be read.
    """
    path = user_path(given, key)
    try:
        if not path.is_file():
            found = f"{path} is {kind(path)}, not a file" if path.exists() else f"the file {path} does not exist"
            raise SegmentError(found)
        path.open("rb").close()
    except OSError as error:
        raise SegmentError(f"cannot read the file {path}: {error.strerror}") from None
    return path


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and all below it that are not hidden, each with its files' names. Links are followed."""
    for folder, names, files in os.walk(top, followlinks=True):
        names[:] = [name for name in names if name[0] != "." and not links_to_parent(Path(folder, name))]
        yield Path(folder), files


def links_to_parent(folder: Path) -> bool:
    """Return whether a folder is a link to one that contains it: to follow it would find the same files again."""
    target = os.path.realpath(folder)
    return folder.is_symlink() and any(Path(os.path.realpath(up)).is_relative_to(target) for up in folder.parents)


def kind(path: Path) -> str:
    """Name what is at a path: "a file", "a folder", "a named pipe", "a device", "a socket" or "a broken link"."""
    if not path.exists():
        return "a broken link"
    tests = {"a file": stat.S_ISREG, "a folder": stat.S_ISDIR, "a named pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    mode = path.stat().st_mode
    return next((name for name, test in tests.items() if test(mode)), "a device")


def first_names(names: Sequence[str], limit: int = 3) -> str:
    """Join the first few names, with "..." where there are more; a stranger's file may hold unprintable ones."""
    return ", ".join(map(printable, names[:limit])) + ", ..." * (len(names) > limit)


def printable(text: str) -> str:
    """Return a text with unprintable characters escaped: a file's name may hold line ends and terminal colours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return a message with unprintable characters escaped, but not the line ends before the rows of a table."""
    return re.sub(r"\\n(?=  )", "\n", printable(text))


@contextmanager
def whole_file(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces an earlier one only when it is complete and on the disk.

    It is written as a ``.part`` file in the same folder, where a file is moved in one step. After an error the earlier
    file is unchanged, and there is no ``.part``. Two processes that write one file use different ``.part`` files.

    Args:
        path: path of the file.
        mode, options: see ``open``.

    Raises:
        OSError: the file cannot be written; ``filename`` is ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{_part_name(path)}.{os.getpid()}.part")
    try:
        with part.open(mode, **options) as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        # PIL raises OSErrors of its own, without a number; an error of another file keeps its name.
        if isinstance(error, OSError) and error.errno is not None and error.filename in {None, str(part)}:
            error.filename = str(path)
        raise


def clear_parts(paths: Iterable[Path]) -> None:
    """Delete the ``.part`` files that killed processes left of these files; a living process holds a lock on its own.

    Args:
        paths: the files that :func:`whole_file` is going to write.
    """
    names = {(path.parent, _part_name(path)) for path in paths}
    for folder in {folder for folder, _ in names}:
        for part in folder.glob(".*.part"):
            if (folder, part.name.split(".")[1]) in names:
                _delete_unlocked(part)


def clear_parts_below(folder: Path) -> None:
    """Delete the ``.part`` files that killed processes left anywhere in a folder of ours."""
    for part in folder.rglob(".*.part"):
        if re.fullmatch(r"\.[0-9a-f]{16}\.\d+\.part", part.name):
            _delete_unlocked(part)


def _delete_unlocked(part: Path) -> None:
    with suppress(OSError):
        if part.is_file() and not part.is_symlink():
            with part.open("r+b") as file:
                if _lock(file):
                    part.unlink()


def _part_name(path: Path) -> str:
    """Return the name that the ``.part`` files of a file share; it is short, however long the file's name is."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


def _lock(file: IO[Any]) -> bool:
    """Lock a file while it is open; False if another process has locked it, or where there are no locks."""
    try:
        import fcntl  # not on Windows

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def checkpoint_digest(path: Path) -> str:
    """Return a hash of a checkpoint. That of a large one covers its size and sixteen parts, the last one at the end."""
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
    """Return a path relative to the working directory if it lies below, for messages."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
