"""Tar files are read to their end, and a damaged one is never taken for a shorter one."""

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest

from segment.data.downloads.unpack import tar_members

CONTENT = {"set/a": b"a" * 700, "set/b": b"b" * 512}


def tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in (files or CONTENT).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(path: Path, body: bytes, mode: str = "r:*") -> dict[str, bytes | None]:
    path.write_bytes(body)
    return {member.name: content and content.read() for member, content in tar_members(path, mode)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_whole_tars(tmp_path, pack):
    assert read(tmp_path / "a", pack(tar())) == {"set": None, **CONTENT}


DAMAGED = {
    "cut in a content": tar()[:1300],
    "cut between files": tar()[:2560],
    "cut in a header": tar()[:2600],
    "damaged header": tar()[:1024] + tar()[1024:].replace(b"set/b", b"s\0t/b", 1),
    "no tar": b"PK" + bytes(1000),
    "other data at the end": tar() + b"more",
    "other data after further zeros": tar() + bytes(2_000_000) + b"more",
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_damaged_tars_are_refused(tmp_path, body, pack):
    with pytest.raises(tarfile.ReadError):
        read(tmp_path / "a", pack(body))


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-9], lambda body: body[:-8] + bytes(8), lambda body: body + b"x"]
)
def test_a_gzip_stream_is_checked_to_its_end(tmp_path, damage):
    with pytest.raises((EOFError, gzip.BadGzipFile)):
        read(tmp_path / "a", damage(gzip.compress(tar())))


def test_compressions_can_be_excluded(tmp_path):
    for mode, body in (("r:gz", lzma.compress(tar())), ("r:", gzip.compress(tar())), ("r:gz", tar())):
        with pytest.raises(tarfile.ReadError):
            read(tmp_path / "a", body, mode)
    assert read(tmp_path / "a", gzip.compress(tar()), "r:gz") == read(tmp_path / "a", tar(), "r:")
