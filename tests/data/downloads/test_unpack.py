"""Archives are unpacked completely or not at all, and never outside their folder."""

import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from segment.data.downloads.unpack import tar_members, unpack
from segment.errors import SegmentError
from tests.data.downloads.archives import TWO_FILES, files_in, tar_of, zip_of


def unpack_bytes(root: Path, body: bytes) -> None:
    """Unpack an archive ``archive`` in ``root``, given its content, to ``data/set``."""
    root.mkdir(exist_ok=True)
    (root / "archive").write_bytes(body)
    unpack([root / "archive"], "set", root / "data" / "set")


@pytest.mark.parametrize("body", [tar_of(), tar_of(mode="w:xz"), zip_of(TWO_FILES)], ids=["tar", "tar.xz", "zip"])
def test_archives_are_added_to_the_target(tmp_path, body):
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "data" / "set" / "other").touch()
    unpack_bytes(tmp_path, body)
    assert files_in(tmp_path) == {"archive", "data/set/a", "data/set/b", "data/set/other"}
    assert (tmp_path / "data/set/a").read_bytes() == TWO_FILES["set/a"]


def malicious(kind: str, outside: Path) -> bytes:
    buffer = io.BytesIO()
    if kind.startswith("zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("set/a.txt", b"a")
            entry = zipfile.ZipInfo(
                {"zip ..": "set/../../../evil", "zip absolute": f"{outside}/evil"}.get(kind, "set/l")
            )
            entry.external_attr = {"zip link": 0o120777, "zip device": 0o010777}.get(kind, 0) << 16
            archive.writestr(entry, str(outside))
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("set/a.txt"), io.BytesIO())
        member = tarfile.TarInfo({"tar ..": "../../evil", "tar absolute": f"{outside}/evil"}.get(kind, "set/l"))
        if kind in {"tar link", "tar hard link"}:
            member.type, member.linkname = (tarfile.SYMTYPE if kind == "tar link" else tarfile.LNKTYPE), str(outside)
        if kind == "tar device":
            member.type = tarfile.FIFOTYPE
        tar.addfile(member, io.BytesIO() if member.isreg() else None)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "zip ..",
        "zip absolute",
        "zip link",
        "zip device",
        "tar ..",
        "tar absolute",
        "tar link",
        "tar hard link",
        "tar device",
    ],
)
def test_malicious_archives_leave_nothing(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(SegmentError, match=r"is refused: its member .* is (a link|a path outside)"):
        unpack_bytes(tmp_path / "root", malicious(kind, outside))
    assert files_in(tmp_path) == {"root/archive"}


def edited(content: bytes, *changes: tuple[int, int]) -> bytes:
    """Return a content with some bytes replaced, each given as position and value."""
    result = bytearray(content)
    for position, value in changes:
        result[position] = value
    return bytes(result)


LARGE_ZIP = zip_of({"set/a.txt": os.urandom(3_000_000)})
SMALL_ZIP = zip_of({"set/a": b"a"})
ENTRY = SMALL_ZIP.index(b"PK\1\2")
NOISE = tar_of({"set/a": os.urandom(50_000), "set/b": os.urandom(50_000)}, "w:gz")
DAMAGED = {
    "no archive": b"no archive at all",
    "zip cut off": LARGE_ZIP[:-2000],
    "zip encrypted": edited(SMALL_ZIP, (6, 1), (ENTRY + 8, 1)),
    "zip of an unknown compression": edited(SMALL_ZIP, (8, 97), (ENTRY + 10, 97)),
    "zip entry with too large a size": edited(SMALL_ZIP, (ENTRY + 24, 9)),
    "tar cut off in a file": tar_of()[:1300],
    "tar cut off between files": tar_of()[:2048],
    "tar cut off in a header": tar_of()[:2300],
    "tar with a damaged header": edited(tar_of(), (2048, 7)),
    "tar with other data at its end": tar_of() + b"more",
    "tar.gz with a changed byte": edited(NOISE, (60_000, NOISE[60_000] ^ 1)),
    "tar.gz cut off": NOISE[:60_000],
    "tar.xz damaged": edited(tar_of({"set/a": NOISE[:50_000]}, "w:xz"), (30_000, 7), (30_001, 7)),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives_leave_nothing(tmp_path, body):
    with pytest.raises(SegmentError, match=r"^cannot unpack .*archive: [^\n]*; remove it and try again$"):
        unpack_bytes(tmp_path, body)
    assert files_in(tmp_path) == {"archive"}


def test_a_zip_that_grows_a_hundred_times_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros", b"\0" * 10**6)
    unpack([tmp_path / "bomb.zip"], ".", tmp_path / "small")
    monkeypatch.setattr("segment.data.downloads.unpack.BOMB_BYTES", 10**5)
    with pytest.raises(SegmentError, match=r"bomb.zip is refused: it would grow to 0.0 GB, 100 times"):
        unpack([tmp_path / "bomb.zip"], ".", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.zip", "small"]


def test_an_archive_of_another_data_set(tmp_path):
    with pytest.raises(SegmentError, match=r"expected a folder set in .*archive, found none"):
        unpack_bytes(tmp_path, zip_of({"other/a": b""}))
    assert files_in(tmp_path) == {"archive"}


def test_the_damaged_archive_is_named(tmp_path):
    (tmp_path / "one.tar").write_bytes(tar_of())
    (tmp_path / "two.tar").write_bytes(tar_of()[:1300])
    with pytest.raises(SegmentError, match=r"cannot unpack [^ ]*two.tar: "):
        unpack([tmp_path / "one.tar", tmp_path / "two.tar"], "set", tmp_path / "set")
    assert files_in(tmp_path) == {"one.tar", "two.tar"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    unpack_bytes(tmp_path, tar_of({"set/a": b"a", "set/b": SMALL_ZIP}))
    assert (tmp_path / "data/set/b").read_bytes() == SMALL_ZIP


# The reader of tar files


def read_tar(path: Path, body: bytes, mode: str = "r:*") -> dict[str, bytes | None]:
    path.write_bytes(body)
    return {member.name: content and content.read() for member, content in tar_members(path, mode)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_members_of_a_tar(tmp_path, pack):
    assert read_tar(tmp_path / "a", pack(tar_of())) == {"set": None, **TWO_FILES}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "body",
    [
        *(body for name, body in DAMAGED.items() if name.startswith("tar ")),
        tar_of() + bytes(2_000_000) + b"more",
        b"PK" + bytes(1000),
    ],
)
def test_damaged_tars_raise(tmp_path, body, pack):
    with pytest.raises(tarfile.ReadError):
        read_tar(tmp_path / "a", pack(body))


def test_a_gzip_stream_is_checked_to_its_end(tmp_path):
    packed = gzip.compress(tar_of())
    for damaged in (packed[:-9], packed[:-8] + bytes(8), packed + b"more"):
        with pytest.raises((EOFError, gzip.BadGzipFile)):
            read_tar(tmp_path / "a", damaged)


def test_compressions_can_be_excluded(tmp_path):
    for mode, body in (("r:gz", lzma.compress(tar_of())), ("r:", gzip.compress(tar_of())), ("r:gz", tar_of())):
        with pytest.raises(tarfile.ReadError):
            read_tar(tmp_path / "a", body, mode)
    assert read_tar(tmp_path / "a", gzip.compress(tar_of()), "r:gz") == read_tar(tmp_path / "a", tar_of(), "r:")
