"""The command that checks an archive, on archives of segment.evaluate's and on damaged ones."""

import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from segment import submission
from segment.data.datasets.voc import VOC
from segment.data.images import read_image
from segment.prediction.inference import Inference
from segment.records.checkpoint import load_checkpoint, load_net
from tests.conftest import untrained, write_pair
from tests.prediction.test_voc_archive import FOLDER, ONE, SIZES, add_test_split, masks, pack


@pytest.fixture
def root(voc_root):
    return add_test_split(voc_root)


def check(monkeypatch, capsys, path, root) -> str:
    """Return all that the command prints, with its error."""
    monkeypatch.setattr(sys, "argv", ["submission", str(path), "--root", str(root)])
    end = ""
    try:
        submission.submission()
    except SystemExit as stopped:
        end = str(stopped.code)
    return capsys.readouterr().out + end


@pytest.mark.parametrize("competition", [pytest.param("comp5", marks=pytest.mark.slow), "comp6"])
def test_the_archive_holds_the_nets_masks(main, root, tmp_path, monkeypatch, capsys, competition):
    checkpoint = untrained(tmp_path / "net.ckpt", "data=voc", f"data.root={root}")
    overrides = ("split=test", "submit=voc", f"competition={competition}", "trainer.accelerator=cpu")
    folder = main("evaluate", f"checkpoint={checkpoint}", *overrides, "inference.flip=true")
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
    files = {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert files == {"results.tgz", "run.lock", "written.txt"}
    assert "is complete: 3 masks of VOC2012 test" in check(monkeypatch, capsys, folder / "results.tgz", root)


def test_faults_are_printed_and_counted(root, tmp_path, monkeypatch, capsys):
    archive = pack(tmp_path / "a.tgz", [(name, content) for name, content in masks().items() if name != ONE])
    fault = "missing image: 2008_000006.png is missing: the split has 3 images\n"
    end = f"error: the server of VOC2012 would refuse {archive}: missing image (1)"
    assert check(monkeypatch, capsys, archive, root) == fault + end
    extra = [(f"{FOLDER}/{i}.png", b"") for i in range(8)]
    said = check(monkeypatch, capsys, pack(tmp_path / "b.tgz", [*masks().items(), *extra]), root)
    assert said.count("extra image: ") == submission.FAULTS_SHOWN
    assert said.endswith("b.tgz: extra image (8)")


@pytest.mark.slow
def test_the_archive_of_ade20k(main, ade20k_root, tmp_path, monkeypatch, capsys):
    sizes = {"ADE_test_00000001": (50, 40), "ADE_test_00000002": (33, 47)}
    for name, (width, height) in sizes.items():
        write_pair(ade20k_root / f"release_test/testing/{name}.jpg", tmp_path / "u.png", np.zeros((height, width)), 0)
    checkpoint = untrained(tmp_path / "net.ckpt", "data=ade20k", f"data.root={ade20k_root}")
    folder = main("evaluate", f"checkpoint={checkpoint}", "split=test", "submit=ade20k", "trainer.accelerator=cpu")
    net = load_net(load_checkpoint(checkpoint), checkpoint)
    with zipfile.ZipFile(folder / "results.zip") as archive:
        assert archive.namelist() == [f"{name}.png" for name in sizes]
        for name, size in sizes.items():
            image = Image.open(archive.open(f"{name}.png"))
            assert (image.mode, image.size) == ("L", size)
            photo = read_image(ade20k_root / f"release_test/testing/{name}.jpg")
            assert np.array_equal(np.array(image), Inference().class_map(net, photo).numpy() + 1)
    root = ade20k_root / "ADEChallengeData2016"  # release_test lies beside it
    said = check(monkeypatch, capsys, folder / "results.zip", root)
    assert "results.zip is complete: 2 masks of ADE20K test" in said
    (ade20k_root / "release_test/testing/ADE_test_00000003.jpg").write_bytes(
        (ade20k_root / "release_test/testing/ADE_test_00000001.jpg").read_bytes()
    )
    said = check(monkeypatch, capsys, folder / "results.zip", root)
    assert said.endswith("error: the server of ADE20K would refuse " + f"{folder / 'results.zip'}: missing image (1)")


def test_a_file_that_is_missing(root, tmp_path, monkeypatch, capsys):
    assert "none.tgz is not a file" in check(monkeypatch, capsys, tmp_path / "none.tgz", root)
