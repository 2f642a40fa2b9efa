"""Archives for the tests of downloads."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

TWO_FILES = {"set/a": b"a" * 700, "set/b": b"b" * 512}


def tar_of(files: Mapping[str, bytes] = TWO_FILES, mode: str = "w") -> bytes:
    """Return a tar of a folder ``set`` and of files in it, given as contents by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_of_folder(folder: Path, prefix: str = "") -> bytes:
    """Return a gzipped tar of a folder's content, with names that begin with ``prefix``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, prefix + str(path.relative_to(folder)), recursive=False)
    return buffer.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of files, given as contents by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_of_folder(folder: Path, prefix: str) -> bytes:
    """Return a zip of all files of a folder, with names below ``prefix``."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return zip_of({f"{prefix}/{path.relative_to(folder)}": path.read_bytes() for path in files})


def files_in(root: Path) -> set[str]:
    """Return the paths of all files in a folder, except for the lock."""
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".download.lock"}
