"""VOC with SBD, and ADE20K's further facts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from segment.data.datasets.ade20k import ADE20K, ADE20KDataModule
from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
from segment.data.doctor import examine
from segment.errors import SegmentError
from segment.evaluation.evaluator import trained_on
from tests.conftest import SHARED, labels, needs_shared, write_pair


def write_mat(path: Path, values: np.ndarray) -> None:
    """As SBD's: GTcls is a struct with Boundaries, Segmentation and CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    present = np.unique(values[values > 0]).astype(np.uint8)
    content = {
        "Boundaries": np.zeros((20, 1), object),
        "Segmentation": values.astype(np.uint8),
        "CategoriesPresent": present,
    }
    savemat(path, {"GTcls": content}, do_compression=True)


@pytest.fixture
def sbd_root(voc_root: Path) -> Path:
    """VOC's tiny layout with an SBD release: 3 training and 2 validation images, some of them VOC's own."""
    base, rng = voc_root / "benchmark_RELEASE" / "dataset", np.random.default_rng(3)
    lists = {"train": ["2007_00t0", "2008_00s0", "2007_00v1"], "val": ["2008_00s1", "2007_00v0"]}
    for split, names in lists.items():
        for i, name in enumerate(names):
            values = labels(rng, [0, 3, 20])
            write_pair(base / "img" / f"{name}.jpg", base / "unused.png", values, i)
            write_mat(base / "cls" / f"{name}.mat", values)
        (base / f"{split}.txt").write_text("\n".join(names) + "\n")
    (base / "unused.png").unlink()
    return voc_root


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


def test_vocs_images_are_known_in_a_folder_too(sbd_root):
    """Whichever of the two a net was trained on."""
    voc = VOCDataModule(str(sbd_root))
    images = sbd_root / "VOCdevkit" / "VOC2012" / "JPEGImages"
    masks = images.with_name("SegmentationClass")
    folder = FolderDataModule(str(sbd_root), classes=list(voc.classes.names), images=str(images), masks=str(masks))
    splits = [{sample.id for sample in folder.samples(split)} for split in ("train", "val")]
    assert not splits[0] & splits[1]  # though the folder's path is an absolute one
    for trained, seen in ((voc, folder), (folder, voc)):
        known = trained.training_fingerprints()
        ids = {sample.id for sample in trained.dataset("train").samples}
        both = [seen.dataset(split) for split in ("train", "val")]
        again = [m for data in both for s, m in zip(data.samples, seen.fingerprints(data), strict=True) if s.id in ids]
        assert trained_on({"images": known}, again) == len(ids)


def test_of_2007_the_test_split_has_masks(voc_root):
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "VOCdevkit" / "VOC2007")
    base = voc_root / "VOCdevkit" / "VOC2007"
    shutil.copy(base / "ImageSets" / "Segmentation" / "val.txt", base / "ImageSets" / "Segmentation" / "test.txt")
    data = VOCDataModule(str(voc_root), 2007)
    assert data.dataset("test").has_masks
    (base / "SegmentationClass" / "2007_00v1.png").unlink()
    assert [p.kind for p in examine(data, ["test"]).problems] == ["missing mask"]


def test_the_common_folder_of_masks(voc_root):
    base, rng = voc_root / "VOCdevkit" / "VOC2012", np.random.default_rng(4)
    write_pair(base / "JPEGImages" / "2008_x.jpg", base / "SegmentationClassAug" / "2008_x.png", labels(rng, [0, 5]), 0)
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


def test_seg11valid_has_the_papers_736_images():
    ids = VOCDataModule("/nowhere").ids("seg11valid")
    assert len(ids) == len({*ids}) == 736
    assert ids[0] == "2007_000033"
    with pytest.raises(SegmentError, match="seg11valid are images of VOC 2011 and 2012"):
        VOCDataModule("/nowhere", 2009).ids("seg11valid")
    for year in (2006, "2007-test"):
        with pytest.raises(SegmentError, match=rf"data.year={year}: expected 2007 to 2012"):
            VOCDataModule("/nowhere", year)


@needs_shared
def test_the_official_lists_make_10582():
    """The numbers of the field, from the official lists themselves."""
    lists = SHARED / "data/voc/VOCdevkit/VOC2012/ImageSets/Segmentation_official"
    official = {name: {*(lists / f"{name}.txt").read_text().split()} for name in ("train", "val", "train_aug")}
    assert len(official["train_aug"]) == AugmentedVOCDataModule("/nowhere").official_sizes["train"] == 10582
    assert official["train"] <= official["train_aug"]
    assert not official["train_aug"] & official["val"]
    assert {*VOCDataModule("/nowhere").ids("seg11valid")} <= official["val"]
    data = AugmentedVOCDataModule(str(SHARED / "data" / "voc"))
    assert len(data.dataset("train")) == 894
    assert {*data.dataset("train")[893]["mask"].unique().tolist()} <= set(range(21))


def test_equal_batches_for_no_one_and_four_workers(voc_root):
    def batches(workers: int) -> list:
        options = {"rotation": 20.0, "elastic": 5.0, "colour": 0.5, "cat_max_ratio": 0.75}
        data = VOCDataModule(str(voc_root), batch_size=2, num_workers=workers, crop_size=(40, 48), **options)
        return list(data.train_dataloader())

    reference = batches(0)
    for workers in (1, 4):
        for a, b in zip(reference, batches(workers), strict=True):
            assert a["id"] == b["id"]
            assert torch.equal(a["image"], b["image"])
            assert torch.equal(a["mask"], b["mask"])
            assert b["mask"].dtype == torch.uint8


def test_ade20ks_stuff_and_scenes(ade20k_root):
    assert {"wall", "sky", "road"} <= ADE20K.stuff
    assert not {"person", "car"} & ADE20K.stuff
    lines = "ADE_train_00000001 living room\nADE_val_00000002 street\n"
    (ade20k_root / "ADEChallengeData2016" / "sceneCategories.txt").write_text(lines)
    scenes = ADE20KDataModule(str(ade20k_root)).scenes()
    (ade20k_root / "ADEChallengeData2016" / "sceneCategories.txt").write_text("ADE_train_00000001\n")
    with pytest.raises(SegmentError, match="expected 'ID SCENE' in each line, but one reads 'ADE_train_00000001'"):
        ADE20KDataModule(str(ade20k_root)).scenes()
    assert scenes == {"ADE_train_00000001": "living room", "ADE_val_00000002": "street"}


@pytest.mark.parametrize("place", ["images/ADE/training/urban/street", "images/training/s/street"])
@pytest.mark.parametrize("root", ["", "ADE20K_2021_17_01"])
def test_the_full_release_is_recognised(tmp_path, place, root):
    folder = tmp_path / "ADE20K_2021_17_01" / place
    folder.mkdir(parents=True)
    for name in ("ADE_train_00016869.jpg", "ADE_train_00016869_seg.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    with pytest.raises(SegmentError, match=r"holds the full ADE20K release, .* get ADEChallengeData2016.zip"):
        ADE20KDataModule(str(tmp_path / root)).setup("fit")


def test_a_full_release_under_the_challenges_name(tmp_path):
    (tmp_path / "ADEChallengeData2016" / "images" / "ADE").mkdir(parents=True)
    for data in (ADE20KDataModule(str(tmp_path)), ADE20KDataModule(str(tmp_path), download=True)):
        with pytest.raises(SegmentError, match=r"full ADE20K release, .* rename .*ADEChallengeData2016 and get ADECh"):
            data.prepare_data() or data.setup("fit")
