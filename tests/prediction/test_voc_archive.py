"""Archives for VOC's server: how they are written, and each fault that has to be found in one."""

import gzip
import io
import lzma
import re
import tarfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from segment.data.datasets.voc import VOC, VOCDataModule
from segment.errors import SegmentError
from segment.prediction.archive import check_submit_options, image_sizes
from segment.prediction.voc_archive import archive_faults, write_voc_archive
from tests.conftest import without_rows, write_pair

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
SIZES = {"2008_000006": (50, 40), "2008_000011": (33, 47), "2008_000012": (50, 40)}


def add_test_split(voc_root):
    """Add a test list of three images without masks to VOC 2012."""
    base = voc_root / "VOCdevkit" / "VOC2012"
    for name, (width, height) in SIZES.items():
        write_pair(base / "JPEGImages" / f"{name}.jpg", base / "unused.png", np.zeros((height, width)), 0)
    (base / "ImageSets" / "Segmentation" / "test.txt").write_text("\n".join(SIZES))
    return voc_root


def png(labels: np.ndarray, mode: str = "P", palette: list[int] | None = None) -> bytes:
    image = Image.fromarray(labels.astype(np.uint8))
    if mode == "P":
        image.putpalette(palette or VOC.flat_palette())
    content = io.BytesIO()
    image.convert(mode).save(content, "PNG")
    return content.getvalue()


def masks() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {f"{FOLDER}/{name}.png": png(rng.integers(0, 21, size[::-1])) for name, size in SIZES.items()}


def pack(path, members: list[tuple[str, bytes]]):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


ONE = f"{FOLDER}/2008_000006.png"
LABELS = np.full((40, 50), 3)
GOOD = png(LABELS)
FAULTS = {
    # the members in place of the first mask, and the fault that has to be found
    "missing": ({}, "missing image: 2008_000006.png is missing: the split has 3 images"),
    "extra": (
        {ONE: GOOD, f"{FOLDER}/2008_999999.png": GOOD},
        "extra image: .*2008_999999.png is not in VOC2012",
    ),
    "layout": ({"2008_000006.png": GOOD}, "layout: 2008_000006.png: expected results/VOC2012/Segm"),
    "two competitions": ({ONE.replace("comp6", "comp5"): GOOD}, "layout: masks lie in .*comp5.* and in .*comp6"),
    "no competition": ({ONE.replace("comp6", "comp3"): GOOD}, "layout: .*comp3_test_cls/2008_000006"),
    "suffix": ({ONE.replace("png", "PNG"): GOOD}, "layout: .*2008_000006.PNG: expected"),
    "hidden file": ({ONE: GOOD, f"{FOLDER}/._2008_000006.png": b"Mac"}, r"extra image: .*/\._2008_000006.png"),
    "absolute": (
        {ONE: GOOD, "/etc/2008_000006.png": GOOD},
        "unsafe path: /etc/2008_000006.png would be unpacked outside",
    ),
    "climbing": (
        {ONE: GOOD, f"{FOLDER}/../../a.png": GOOD},
        r"unsafe path: .*/\.\./\.\./a.png would be unpacked outside",
    ),
    "size": ({ONE: png(LABELS.T)}, "size: .*2008_000006.png is 40x50, its image 50x40"),
    "colours": ({ONE: png(LABELS, "RGB")}, "mode: .*2008_000006.png has mode RGB: expected class indices"),
    "void": ({ONE: png(LABELS + 252)}, "void: .*2008_000006.png has label 255"),
    "range": ({ONE: png(LABELS + 18)}, "label: .*2008_000006.png has label 21: expected 0 to 20"),
    "palette": (
        {ONE: png(LABELS, palette=[7] * 768)},
        r"palette: .*label 3 in \(7, 7, 7\): VOC's colour is ",
    ),
    "broken": ({ONE: GOOD[:60]}, "unreadable: .*2008_000006.png is not a readable PNG: "),
    "checksum": ({ONE: GOOD[:-14] + b"x" + GOOD[-13:]}, "unreadable: .*2008_000006.png .*checksum of its chunk 'IDAT'"),
    "line end": ({ONE: GOOD, "a\n\x1b[2J.png": GOOD}, r"layout: a\\n\\x1b\[2J.png: expected"),
    "rows": ({ONE: without_rows(GOOD)}, "unreadable: .*2008_000006.png .* bytes of its pixels are there"),
    "no palette": (
        {ONE: GOOD.replace(GOOD[GOOD.index(b"PLTE") - 4 : GOOD.index(b"PLTE") + 4 + 768 + 4], b"")},
        r"palette: .*label 3 in \(\): VOC's",
    ),
    "header": (
        {ONE: GOOD[:8] + bytes([0, 0, 0, 0]) + GOOD[12:]},
        "unreadable: .*2008_000006.png is not a readable PNG: Truncated IHDR chunk$",
    ),
    "no header": (
        {ONE: GOOD[:8] + bytes(60)},
        "unreadable: .*2008_000006.png is not a readable PNG: its header is damaged$",
    ),
    "empty": ({ONE: b""}, "unreadable: .*2008_000006.png is not a PNG$"),
    "profile": (
        {ONE: GOOD[:-12] + bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big") + GOOD[-12:]},
        "unreadable: .*2008_000006.png is not a readable PNG: ",
    ),
    "other format": ({ONE: b"GIF89a" + bytes(50)}, "unreadable: .*2008_000006.png is not a PNG$"),
}


def found(path) -> str:
    """Each fault on a line: its kind and its sentence."""
    return "".join(f"{fault.kind}: {fault.message}\n" for fault in archive_faults(path, SIZES))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    instead, expected = FAULTS[fault]
    members = [*((name, content) for name, content in masks().items() if name != ONE), *instead.items()]
    faults = found(pack(tmp_path / "a.tgz", members))
    assert re.search(expected, faults, re.MULTILINE)
    assert faults.count("\n") == 1, "and no other"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_a_good_archive_has_no_fault(tmp_path):
    members = {**masks(), ONE: png(LABELS, "L")}  # grey, but class indices all the same
    assert found(pack(tmp_path / "a.tgz", [(f"./{name}", content) for name, content in members.items()])) == ""


def test_files_that_are_not_complete_archives(tmp_path):
    good = pack(tmp_path / "good.tgz", list(masks().items())).read_bytes()
    plain = bytearray(gzip.decompress(good))
    damaged = plain.copy()
    second = plain.index(FOLDER.encode(), 512)
    damaged[second : second + 10] = b"nonsense !"
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**80
    for name, content, expected in (
        ("zip.tgz", b"PK" + bytes(100), r"0 files: it is cut off or damaged \(truncated header\)\n"),
        ("cut.tgz", good[: len(good) * 2 // 3], "[12] files: Compressed file ended"),
        ("end.tgz", good[:-9], "3 files: Compressed file ended before the end-of-stream marker"),
        ("checksum.tgz", good[:-8] + bytes(8), "3 files: CRC check failed"),
        ("more.tgz", good + b"more", "3 files: Not a gzipped file"),
        ("xz.tgz", lzma.compress(plain), "0 files"),
        ("header.tar", damaged, r"1 files: it is cut off or damaged \(bad checksum\)\n"),
        ("size.tar", long.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "0 files"),
    ):
        (tmp_path / name).write_bytes(content)
        complaint = f"archive: {name} is not a complete .tar, .tar.gz or .tgz: reading failed after "
        assert re.match(complaint + expected, found(tmp_path / name))


def test_members_that_are_not_single_files(tmp_path):
    folders = [tarfile.TarInfo(name) for name in (*FOLDER.split("/")[:1], FOLDER, ONE)]
    for folder in folders:
        folder.type = tarfile.DIRTYPE
    link = tarfile.TarInfo(ONE)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for name, members, expected in (
        ("folder", folders, r"(?s)layout: \S*2008_000006.png is a folder.*missing image: 2008_000006.png"),
        ("link", [link], "no file: .*2008_000006.png is a link or a device"),
    ):
        with tarfile.open(tmp_path / name, "w") as archive:
            for member in members:
                archive.addfile(member)
        assert re.search(expected, found(tmp_path / name))
    twice = pack(tmp_path / "twice.tgz", [*masks().items(), (ONE, GOOD)])
    assert re.fullmatch("duplicate: .*2008_000006.png is in the archive more than once\n", found(twice))


def test_an_archive_is_written_only_without_faults(voc_root, tmp_path, capsys):
    data = VOCDataModule(str(add_test_split(voc_root)))
    assert image_sizes(data, "test") == SIZES
    with pytest.raises(SegmentError, match=r"VOC's server would refuse the archive: .*2008_000006.png has label 255"):
        write_voc_archive(
            lambda image: torch.full(image.shape[1:], 255), data, "test", "comp6", tmp_path / "results.tgz"
        )
    assert not list(tmp_path.glob("results*"))
    write_voc_archive(lambda image: torch.full(image.shape[1:], 7), data, "test", "comp6", tmp_path / "results.tgz")
    assert [path.name for path in tmp_path.glob("results*")] == ["results.tgz"]
    assert found(tmp_path / "results.tgz") == ""
    assert f"results.tgz has 3 masks in {FOLDER} (trained on any data" in capsys.readouterr().out


def test_wrong_options(voc_root):
    data = VOCDataModule(str(voc_root))
    check_submit_options("voc", "comp5", data)
    for options, message in (
        (("kitti", "comp6", data), "submit=kitti: expected voc or ade20k, or null to compute metrics"),
        (("voc", "comp3", data), "competition=comp3: expected comp5 .* or comp6 "),
        (("voc", "comp6", None), "submit=voc: expected PASCAL VOC's images .*, got NoneType"),
        (("ade20k", "comp6", data), r"submit=ade20k: expected ADE20K's images \(data=ade20k .*, got VOCDataModule"),
    ):
        with pytest.raises(SegmentError, match=message):
            check_submit_options(*options)
