"""Archives for VOC's server: what evaluate writes, and each fault that the validator has to name."""

import gzip
import io
import lzma
import re
import sys
import tarfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from segment import submission
from segment.data.datasets.voc import VOC, VOCDataModule
from segment.data.images import read_image
from segment.errors import SegmentError
from segment.prediction.inference import Inference
from segment.records.checkpoint import load_checkpoint, load_net
from tests.conftest import untrained, without_rows, write_pair

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
SIZES = {"2008_000006": (50, 40), "2008_000011": (33, 47), "2008_000012": (50, 40)}


@pytest.fixture
def root(voc_root):
    """VOC 2012 with the three images of a test list, which has no masks."""
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


def validate(monkeypatch, capsys, path, root) -> str:
    """What the validator says, on screen and at its end."""
    monkeypatch.setattr(sys, "argv", ["submission", str(path), "--root", str(root)])
    end = ""
    try:
        submission.main()
    except SystemExit as stopped:
        end = str(stopped.code)
    return capsys.readouterr().out + end


@pytest.mark.parametrize("competition", ["comp5", "comp6"])
def test_the_archive_holds_the_nets_masks(main, root, tmp_path, monkeypatch, capsys, competition):
    checkpoint = untrained(tmp_path / "net.ckpt", "data=voc", f"data.root={root}")
    words = ("split=test", "submit=voc", f"competition={competition}", "trainer.accelerator=cpu", "inference.flip=true")
    folder = main("evaluate", f"checkpoint={checkpoint}", *words)
    net = load_net(load_checkpoint(checkpoint), checkpoint)
    with tarfile.open(folder / "results.tgz") as archive:
        assert archive.getnames() == [f"{FOLDER.replace('comp6', competition)}/{name}.png" for name in SIZES]
        for member in archive:
            image = Image.open(archive.extractfile(member))
            assert image.mode == "P"
            assert image.getpalette()[:63] == VOC.flat_palette()[:63]
            assert image.size == SIZES[member.name[-15:-4]]
            photo = read_image(root / "VOCdevkit/VOC2012/JPEGImages" / f"{member.name[-15:-4]}.jpg")
            assert np.array_equal(np.array(image), Inference(flip=True).class_map(net, photo).numpy())
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["results.tgz"]
    assert "is complete: 3 masks of VOC2012 test" in validate(monkeypatch, capsys, folder / "results.tgz", root)


ONE = f"{FOLDER}/2008_000006.png"
LABELS = np.full((40, 50), 3)
GOOD = png(LABELS)
FAULTS = {
    # what an archive holds in place of the first mask, and what has to be said
    "missing": ({}, "missing image: 2008_000006.png is missing: test.txt lists 3 images"),
    "extra": (
        {ONE: GOOD, f"{FOLDER}/2008_999999.png": GOOD},
        "extra image: .*2008_999999.png is not in VOC2012",
    ),
    "layout": ({"2008_000006.png": GOOD}, "layout: 2008_000006.png: expected results/VOC2012/Segm"),
    "two competitions": ({ONE.replace("comp6", "comp5"): GOOD}, "layout: masks lie in .*comp5.* and in .*comp6"),
    "no competition": ({ONE.replace("comp6", "comp3"): GOOD}, "layout: .*comp3_test_cls/2008_000006"),
    "suffix": ({ONE.replace("png", "PNG"): GOOD}, "layout: .*2008_000006.PNG: expected"),
    "hidden file": ({ONE: GOOD, f"{FOLDER}/._2008_000006.png": b"Mac"}, r"extra image: .*/\._2008_000006.png"),
    "absolute": ({ONE: GOOD, "/etc/2008_000006.png": GOOD}, "unsafe path: /etc/2008_000006.png would leave the folder"),
    "climbing": ({ONE: GOOD, f"{FOLDER}/../../a.png": GOOD}, r"unsafe path: .*/\.\./\.\./a.png would leave the folder"),
    "size": ({ONE: png(LABELS.T)}, "size: .*2008_000006.png is 40x50, its image 50x40"),
    "colours": ({ONE: png(LABELS, "RGB")}, "mode: .*2008_000006.png has mode RGB: expected class indices"),
    "void": ({ONE: png(LABELS + 252)}, "void: .*2008_000006.png has label 255"),
    "range": ({ONE: png(LABELS + 18)}, "label: .*2008_000006.png has label 21: expected 0 to 20"),
    "palette": (
        {ONE: png(LABELS, palette=[7] * 768)},
        r"palette: .*label 3 in \(7, 7, 7\): VOC's colour is ",
    ),
    "broken": ({ONE: GOOD[:60]}, "unreadable: .*2008_000006.png is no PNG that can be read"),
    "checksum": ({ONE: GOOD[:-14] + b"x" + GOOD[-13:]}, "unreadable: .*2008_000006.png .*checksum of its chunk 'IDAT'"),
    "line end": ({ONE: GOOD, "a\n\x1b[2J.png": GOOD}, r"layout: a\\n\\x1b\[2J.png: expected"),
    "rows": ({ONE: without_rows(GOOD)}, "unreadable: .*2008_000006.png .* bytes of its pixels are there"),
    "no palette": (
        {ONE: GOOD.replace(GOOD[GOOD.index(b"PLTE") - 4 : GOOD.index(b"PLTE") + 4 + 768 + 4], b"")},
        r"palette: .*label 3 in \(\): VOC's",
    ),
    "header": ({ONE: GOOD[:8] + bytes([0, 0, 0, 0]) + GOOD[12:]}, "unreadable: .*2008_000006.png is no PNG that can"),
    "empty": ({ONE: b""}, "unreadable: .*2008_000006.png is no PNG"),
    "profile": (
        {ONE: GOOD[:-12] + bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big") + GOOD[-12:]},
        "unreadable: .*2008_000006.png is no PNG that can be read",
    ),
    "other format": ({ONE: b"GIF89a" + bytes(50)}, "unreadable: .*2008_000006.png is no PNG\n"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(root, tmp_path, monkeypatch, capsys, fault):
    instead, expected = FAULTS[fault]
    members = [*((name, content) for name, content in masks().items() if name != ONE), *instead.items()]
    said = validate(monkeypatch, capsys, pack(tmp_path / "a.tgz", members), root)
    assert re.search(expected, said)
    assert said.count("\n") == 1, "and no other"
    assert re.search(r"would be refused: [a-z ]+ \(1\)$", said)
    assert not (tmp_path / "results").exists()


def test_good_archives_pass(root, tmp_path, monkeypatch, capsys):
    members = {**masks(), ONE: png(LABELS, "L")}  # grey, but indices all the same
    archive = pack(tmp_path / "a.tgz", [(f"./{name}", content) for name, content in members.items()])
    assert "a.tgz is complete: 3 masks of VOC2012 test" in validate(monkeypatch, capsys, archive, root)


def test_archives_that_are_none(root, tmp_path, monkeypatch, capsys):
    good = pack(tmp_path / "good.tgz", list(masks().items())).read_bytes()
    link = tarfile.TarInfo(ONE)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "link.tgz", "w") as archive:
        archive.addfile(link)
    twice = pack(tmp_path / "twice.tgz", [*masks().items(), (ONE, GOOD)])
    (tmp_path / "end.tgz").write_bytes(good[:-9])
    (tmp_path / "checksum.tgz").write_bytes(good[:-8] + bytes(8))
    (tmp_path / "more.tgz").write_bytes(good + b"more")
    plain = bytearray(gzip.decompress(good))
    (tmp_path / "xz.tgz").write_bytes(lzma.compress(plain))
    second = plain.index(FOLDER.encode(), 512)
    plain[second : second + 10] = b"nonsense !"
    (tmp_path / "header.tar").write_bytes(plain)
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**80
    (tmp_path / "size.tar").write_bytes(long.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with tarfile.open(tmp_path / "folder.tgz", "w:gz") as archive:
        for name in (*FOLDER.split("/")[:1], FOLDER, ONE):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    (tmp_path / "zip.tgz").write_bytes(b"PK" + bytes(100))
    (tmp_path / "cut.tgz").write_bytes(good[: len(good) * 2 // 3])
    for path, expected in (
        (
            tmp_path / "zip.tgz",
            "archive: zip.tgz is no whole .tar, .tar.gz or .tgz: after 0 files: truncated header\n",
        ),
        (
            tmp_path / "cut.tgz",
            r"archive: cut.tgz is no whole .tar, .tar.gz or .tgz: after [12] files: Compressed file ended",
        ),
        (tmp_path / "end.tgz", r"after 3 files: Compressed file ended before the end-of-stream marker"),
        (tmp_path / "checksum.tgz", r"after 3 files: CRC check failed"),
        (tmp_path / "more.tgz", r"after 3 files: Not a gzipped file"),
        (tmp_path / "xz.tgz", r"archive: xz.tgz is no whole .tar, .tar.gz or .tgz: after 0 files"),
        (
            tmp_path / "header.tar",
            r"archive: header.tar is no whole .tar, .tar.gz or .tgz: after 1 files: what follows is no part of a tar",
        ),
        (tmp_path / "size.tar", r"archive: size.tar is no whole .tar, .tar.gz or .tgz: after "),
        (tmp_path / "folder.tgz", r"(?s)layout: \S*2008_000006.png is a folder.*missing image: 2008_000006.png"),
        (tmp_path / "link.tgz", "no file: .*2008_000006.png is a link or a device"),
        (twice, "duplicate: .*2008_000006.png is in the archive more than once"),
        (tmp_path / "none.tgz", "error: .*none.tgz is no file"),
    ):
        said = validate(monkeypatch, capsys, path, root)
        assert re.search(expected, said)
        assert "Traceback" not in said


def test_an_archive_that_would_be_refused_is_not_kept(root, tmp_path):
    data = VOCDataModule(str(root))
    with pytest.raises(SegmentError, match=r"the archive would be refused: .*2008_000006.png has label 255"):
        submission.submit(lambda image: torch.full(image.shape[1:], 255), data, "test", "comp6", tmp_path)
    assert not list(tmp_path.glob("results*"))
