"""The examination of a data set finds every planted fault, and nothing in clean data."""

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.ade20k import ADE20KDataModule
from segment.data.datasets.camvid import CamVidDataModule
from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.shapes import ShapesDataModule
from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
from segment.data.doctor import examine
from tests.conftest import SHARED, needs_shared


def found(root: Path, kind: str = "problems") -> dict[str, str]:
    data = FolderDataModule(str(root), classes=["a", "b", "c"])
    return {finding.kind: finding.message for finding in getattr(examine(data, ["train", "val"]), kind)}


def test_clean_data_is_clean(folder_root):
    data = FolderDataModule(str(folder_root), classes=["a", "b", "c"])
    report = examine(data, ["train", "val"])
    assert report.problems == report.notes == []
    assert [(s.samples, s.read) for s in report.splits.values()] == [(6, 6), (3, 3)]
    assert report.splits["train"].sizes == {(24, 20): 6}
    assert report.splits["train"].pixels[[0, 1, 2, 255]].tolist() == [720] * 4
    assert report.shares("train", 3) == [0.25] * 4


def save_mask(root: Path, image: Image.Image) -> None:
    image.save(root / "train/masks/2.png")


def set_labels(root: Path, value: int) -> None:
    """Replace all labels of the training masks but 0."""
    for path in (root / "train" / "masks").iterdir():
        Image.fromarray(np.where(np.array(Image.open(path)) == 0, 0, value).astype(np.uint8)).save(path)


def write_broken_tiff(path: Path) -> None:
    """Write a TIFF whose link to the next page leads into the first page's directory."""
    content = io.BytesIO()
    Image.new("L", (24, 20)).save(content, "TIFF")
    raw = bytearray(content.getvalue())
    start = struct.unpack_from("<I", raw, 4)[0]
    entries = struct.unpack_from("<H", raw, start)[0]
    struct.pack_into("<I", raw, start + 2 + 12 * entries, start + 3)
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def flip_bit(path: Path) -> None:
    """Flip a bit in the middle of a PNG's pixels. torchvision's decoder would end the process; PIL may accept it."""
    content = bytearray(path.read_bytes())
    content[(content.index(b"IDAT") + content.index(b"IEND")) // 2] ^= 4
    path.write_bytes(content)


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "image gone": ("missing image", lambda r: (r / "train/images/2.jpg").unlink()),
    "mask gone": ("missing mask", lambda r: (r / "val/masks/1.png").unlink()),
    "image truncated": ("unreadable image", lambda r: truncate(r / "train/images/2.jpg")),
    "image empty": ("unreadable image", lambda r: (r / "val/images/2.jpg").write_bytes(b"")),
    "image no image": ("unreadable image", lambda r: (r / "val/images/2.jpg").write_text("<html>")),
    "mask empty": ("unreadable mask", lambda r: (r / "val/masks/2.png").write_bytes(b"")),
    "mask truncated": ("unreadable mask", lambda r: (p := r / "val/masks/2.png").write_bytes(p.read_bytes()[:-30])),
    "mask with a flipped bit": ("unreadable mask", lambda r: flip_bit(r / "train/masks/2.png")),
    "mask smaller": ("mask size", lambda r: save_mask(r, Image.new("L", (23, 20)))),
    "mask turned": ("mask size", lambda r: save_mask(r, Image.new("L", (20, 24)))),
    "mask in colours": ("mask mode", lambda r: save_mask(r, Image.new("RGB", (24, 20)))),
    "mask of 16 bits": ("mask mode", lambda r: save_mask(r, Image.new("I;16", (24, 20)))),
    "mask with alpha": ("mask mode", lambda r: save_mask(r, Image.new("LA", (24, 20)))),
    "label too high": ("unknown values", lambda r: save_mask(r, Image.new("L", (24, 20), 3))),
    "mask a JPEG": ("lossy mask", lambda r: Image.new("L", (24, 20)).save(r / "train/masks/2.png", format="JPEG")),
    "masks of 0 and 255": ("one class", lambda r: set_labels(r, 255)),
    "masks all void": ("only void", lambda r: [Image.new("L", (24, 20), 255).save(p) for p in r.glob("val/masks/*")]),
    "TIFF with a broken link to a page": ("unreadable image", lambda r: write_broken_tiff(r / "val/images/2.jpg")),
    "image of several pages": (
        "several pages",
        lambda r: Image.new("RGB", (24, 20)).save(
            r / "val/images/2.jpg", format="TIFF", save_all=True, append_images=[Image.new("RGB", (24, 20))]
        ),
    ),
    "image of 32 bits": (
        "image mode",
        lambda r: Image.new("F", (24, 20)).save(r / "val/images/2.jpg", format="TIFF"),
    ),
    "same image in both": ("leakage", lambda r: shutil.copy(r / "train/images/4.jpg", r / "val/images/2.jpg")),
    "same pixels in another format": (
        "leakage",
        lambda r: (
            Image.open(r / "train/images/4.jpg").save(r / "val/images/2.png"),
            (r / "val/images/2.jpg").unlink(),
        ),
    ),
    "no masks of a split": ("no masks", lambda r: shutil.rmtree(r / "val" / "masks")),
    "a split is empty": ("split", lambda r: [p.unlink() for p in (r / "val/images").iterdir()]),
    "a split is missing": ("split", lambda r: shutil.rmtree(r / "val")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(folder_root, fault):
    kind, plant = FAULTS[fault]
    plant(folder_root)
    problems = found(folder_root)
    assert kind in problems, problems
    assert len(problems) == 1


NOTES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an image twice in a split": (
        "same content",
        lambda r: shutil.copy(r / "val/images/0.jpg", r / "val/images/1.jpg"),
    ),
    "one mask all void": ("only void", lambda r: Image.new("L", (24, 20), 255).save(r / "val/masks/0.png")),
}


@pytest.mark.parametrize("fault", NOTES)
def test_harmless_findings_are_notes(folder_root, fault):
    kind, plant = NOTES[fault]
    plant(folder_root)
    assert found(folder_root) == {}
    assert [*found(folder_root, "notes")] == [kind]


def test_classes_that_are_absent_or_never_trained(folder_root):
    set_labels(folder_root, 1)
    assert found(folder_root) == {}
    assert found(folder_root, "notes") == {
        "absent": "train: no pixel of c",
        "never trained": "val has classes that train has not: c",
    }


def test_lists(voc_root):
    base = voc_root / "VOCdevkit" / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("2007_00t0\n2007_00t1\n2007_00t1\n2007_00v0\n")
    report = examine(VOCDataModule(str(voc_root)), ["train", "val"])
    assert [p.kind for p in report.problems] == ["listed twice", "leakage"]
    assert report.problems[1].message == "1 images of train are in val, too: 2007_00v0"
    kinds = {note.kind: note.message for note in report.notes}
    assert kinds["number"].endswith("as published it has 1449")
    assert kinds["unlisted"].startswith("3 pairs are in none of these splits: 2007_00t2")


def test_unused_images_in_sub_folders_are_noted(folder_root):
    (folder_root / "train" / "images" / "extra").mkdir()
    shutil.copy(folder_root / "train/images/4.jpg", folder_root / "train/images/extra/9.jpg")
    assert found(folder_root) == {}
    assert found(folder_root, "notes")["deeper"].endswith("are not used: extra/9.jpg")


@pytest.mark.parametrize("kind", [1, 2, 7], ids=["byte", "ascii", "undefined"])
def test_an_exif_orientation_of_a_wrong_type(folder_root, kind):
    content = b"II*\0\x08\0\0\0\x01\0\x12\x01" + bytes([kind]) + b"\0\x01\0\0\0\6\0\0\0\0\0\0\0"
    Image.open(folder_root / "train/images/2.jpg").save(folder_root / "train/images/2.jpg", exif=b"Exif\0\0" + content)
    assert {*found(folder_root)} <= {"mask size"}  # applied or ignored, but no traceback


def test_other_data_sets(camvid_root, ade20k_root):
    for data in (CamVidDataModule(str(camvid_root)), ADE20KDataModule(str(ade20k_root)), ShapesDataModule(3, 2)):
        report = examine(data, ["train", "val"])
        assert report.problems == []
        assert {*report.splits} == {"train", "val"}


@pytest.mark.slow
@needs_shared
def test_real_data_is_sound():
    data = CamVidDataModule(str(SHARED / "data" / "camvid"))
    report = examine(data, ["train", "val"])
    assert report.problems == []
    assert report.splits["val"].sizes == {(480, 360): 101}


def test_used_pairs_are_not_noted_as_unlisted(voc_root):
    base = voc_root / "VOCdevkit" / "VOC2012"
    shutil.copytree(base / "SegmentationClass", base / "SegmentationClassAug")
    (base / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("2007_00t0\n")
    assert "unlisted" not in {n.kind for n in examine(AugmentedVOCDataModule(str(voc_root)), ["train", "val"]).notes}


def test_images_and_masks_in_one_folder(folder_root):
    for path in (folder_root / "train" / "masks").iterdir():
        path.rename(folder_root / "train" / "images" / f"{path.stem}_mask.png")
    data = FolderDataModule(str(folder_root / "train"), ["a", "b", "c"], masks="images", mask_name="{name}_mask")
    report = examine(data, ["train", "val"])
    assert report.problems == report.notes == []


def test_a_problem_of_the_whole_folder_is_reported_once(tmp_path):
    report = examine(FolderDataModule(str(tmp_path / "nowhere"), classes=["a", "b"]), ["train", "val"])
    assert [p.kind for p in report.problems] == ["split"]


def test_masks_in_a_sub_folder_of_the_images_are_used(folder_root):
    """They are neither images that no split uses, nor masks without an image."""
    (folder_root / "train" / "masks").rename(folder_root / "train" / "images" / "masks")
    data = FolderDataModule(str(folder_root / "train"), ["a", "b", "c"], masks="images/masks")
    report = examine(data, ["train", "val"])
    assert report.problems == report.notes == []
