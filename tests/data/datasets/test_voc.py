"""VOC and its extension by SBD."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from segment.data.datamodule import count_shared
from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
from segment.data.doctor import examine
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared
from tests.data_sets import block_mask, write_mat, write_pair


def test_labels_are_the_palette_indices(voc_root):
    data = VOCDataModule(str(voc_root)).dataset("val")
    path = voc_root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_00v1.png"
    item = data[1]
    assert item["id"] == "2007_00v1"
    assert np.array_equal(item["mask"].numpy(), np.array(Image.open(path)))
    assert item["image"].dtype == torch.uint8
    assert item["image"].shape[1:] == item["mask"].shape


@needs_shared
def test_real_files_keep_their_indices():
    data = VOCDataModule(str(SHARED / "data" / "voc")).dataset("val")
    assert len(data) == 200
    path = SHARED / "data/voc/VOCdevkit/VOC2012/SegmentationClass/2007_000033.png"
    assert np.array_equal(data[0]["mask"].numpy(), np.array(Image.open(path)))
    assert set(data[0]["mask"].unique().tolist()) == {0, 1, 255}  # aeroplanes, with their border


def test_the_test_split_may_have_no_masks(voc_root):
    base = voc_root / "VOCdevkit" / "VOC2012"
    (base / "ImageSets/Segmentation/test.txt").write_text("2007_00v0\n")
    (base / "SegmentationClass/2007_00v0.png").unlink()
    data = VOCDataModule(str(voc_root)).dataset("test")
    assert not data.has_masks
    assert (data[0]["mask"] == 255).all()


def test_the_test_split_of_2007_has_masks(voc_root):
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2007")
    base = voc_root / "VOCdevkit" / "VOC2007"
    shutil.copy(base / "ImageSets" / "Segmentation" / "val.txt", base / "ImageSets" / "Segmentation" / "test.txt")
    data = VOCDataModule(str(voc_root), 2007)
    assert data.dataset("test").has_masks
    (base / "SegmentationClass" / "2007_00v1.png").unlink()
    assert [p.kind for p in examine(data, ["test"]).problems] == ["missing mask"]


def test_the_union_leaves_out_vocs_validation_images(sbd_root):
    data = AugmentedVOCDataModule(str(sbd_root))
    train = data.samples("train")
    assert [s.id for s in train] == [*(f"2007_00t{i}" for i in range(5)), "2008_00s0", "2008_00s1"]
    assert train[0].mask.suffix == ".png"  # VOC's own mask, with its border
    assert train[5].mask == sbd_root / "benchmark_RELEASE" / "dataset" / "cls" / "2008_00s0.mat"
    assert [s.id for s in data.samples("val")] == [f"2007_00v{i}" for i in range(3)]
    data.setup("fit")
    item = data.dataset("train")[6]
    assert {*item["mask"].unique().tolist()} <= {0, 3, 20}
    assert [s.id for s in data.samples("sbd_train")] == ["2007_00t0", "2008_00s0", "2007_00v1"]
    assert examine(data, ["train", "val"]).problems == []


def test_sbds_copies_of_validation_images_are_noted(sbd_root, capsys):
    AugmentedVOCDataModule(str(sbd_root), train_split="sbd_train").setup("fit")
    assert "note: 1 of 3 images of val are also in sbd_train, so" in capsys.readouterr().out


def test_the_same_images_in_a_folder_have_a_fingerprint_in_common(sbd_root):
    """Also the other way round."""
    voc = VOCDataModule(str(sbd_root))
    images = sbd_root / "VOCdevkit" / "VOC2012" / "JPEGImages"
    masks = images.with_name("SegmentationClass")
    folder = FolderDataModule(str(sbd_root), classes=list(voc.classes.names), images=str(images), masks=str(masks))
    splits = [{sample.id for sample in folder.samples(split)} for split in ("train", "val")]
    assert not splits[0] & splits[1]  # though the path of the folder is absolute
    for trained, seen in ((voc, folder), (folder, voc)):
        known = trained.training_fingerprints()
        ids = {sample.id for sample in trained.dataset("train").samples}
        both = [seen.dataset(split) for split in ("train", "val")]
        again = [m for data in both for s, m in zip(data.samples, seen.fingerprints(data), strict=True) if s.id in ids]
        assert count_shared(again, known) == len(ids)


def test_the_folder_segmentation_class_aug(voc_root):
    base, rng = voc_root / "VOCdevkit" / "VOC2012", np.random.default_rng(4)
    image, mask = base / "JPEGImages" / "2008_x.jpg", base / "SegmentationClassAug" / "2008_x.png"
    write_pair(image, mask, block_mask(rng, [0, 5]), 0)
    list_file = base / "ImageSets" / "Segmentation" / "train_aug.txt"
    list_file.write_text("/JPEGImages/2007_00t0.jpg /SegmentationClassAug/2007_00t0.png\n2008_x\n")
    data = AugmentedVOCDataModule(str(base))
    assert [s.id for s in data.samples("train")][-1] == "2008_x"
    assert len(data.dataset("train")) == 6
    list_file.write_text("2007_00v2\n2008_x\n")
    with pytest.raises(SegmentError, match=r"train_aug.txt lists 1 images of VOC 2012 val \(2007_00v2"):
        data.samples("train")


def test_faults_of_sbd(sbd_root):
    path = sbd_root / "benchmark_RELEASE" / "dataset" / "cls" / "2008_00s1.mat"
    path.write_bytes(path.read_bytes()[:100])
    data = AugmentedVOCDataModule(str(sbd_root))
    with pytest.raises(SegmentError, match=r"cannot read the mask .*2008_00s1.mat"):
        data.dataset("train")[6]
    assert [p.kind for p in examine(data, ["train"]).problems] == ["unreadable mask"]
    write_mat(path, np.zeros((3, 4)))
    with pytest.raises(SegmentError, match=r"2008_00s1.mat is 4x3, its image"):
        data.dataset("train")[6]


def test_without_sbd(voc_root):
    with pytest.raises(SegmentError, match=r"no SBD at data.root=.*benchmark_RELEASE/dataset/.*SegmentationClassAug/"):
        AugmentedVOCDataModule(str(voc_root)).samples("train")


def test_seg11valid_has_the_736_images_of_the_papers():
    ids = VOCDataModule("/nowhere").ids("seg11valid")
    assert len(ids) == len({*ids}) == 736
    assert ids[0] == "2007_000033"
    with pytest.raises(SegmentError, match="seg11valid are images of VOC 2011 and 2012"):
        VOCDataModule("/nowhere", 2009).ids("seg11valid")
    for year in (2006, "2007-test"):
        with pytest.raises(SegmentError, match=rf"data.year={year}: expected 2007 to 2012"):
            VOCDataModule("/nowhere", year)


@needs_shared
def test_the_official_lists_have_10582_images_together():
    """The number that papers give, from the official lists."""
    lists = SHARED / "data/voc/VOCdevkit/VOC2012/ImageSets/Segmentation_official"
    official = {name: {*(lists / f"{name}.txt").read_text().split()} for name in ("train", "val", "train_aug")}
    assert len(official["train_aug"]) == AugmentedVOCDataModule("/nowhere").official_sizes["train"] == 10582
    assert official["train"] <= official["train_aug"]
    assert not official["train_aug"] & official["val"]
    assert {*VOCDataModule("/nowhere").ids("seg11valid")} <= official["val"]
    data = AugmentedVOCDataModule(str(SHARED / "data" / "voc"))
    assert len(data.dataset("train")) == 894
    assert {*data.dataset("train")[893]["mask"].unique().tolist()} <= set(range(21))
