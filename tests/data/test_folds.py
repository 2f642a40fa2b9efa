"""Cross-validation: each image is held out once, groups stay together, and a test split is never touched."""

import re
from collections import Counter

import numpy as np
import pytest

from segment.data.datasets.camvid import CamVidDataModule
from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.shapes import ShapesDataModule
from segment.data.doctor import examine
from segment.data.folds import assign_folds, read_folds
from segment.data.image_groups import shared_groups
from segment.errors import SegmentError
from segment.evaluation.results import describe_data
from tests.data_sets import write_pair

IDS = [f"{patient}_{image}" for patient in "abcdefg" for image in range(3)]


def test_folds_are_balanced_and_depend_on_the_seed_alone():
    folds = assign_folds(IDS, 4, seed=0)
    assert sorted(Counter(folds).values()) == [5, 5, 5, 6]
    assert assign_folds(IDS[::-1], 4, seed=0) == folds[::-1]
    assert assign_folds(IDS, 4, seed=1) != folds


def test_groups_of_different_sizes_are_never_split():
    units = [*"a" * 7, *"b" * 4, *"c" * 4, *"d" * 2, *"e"]
    found = {(unit, fold) for unit, fold in zip(units, assign_folds(units, 3, seed=0), strict=True)}
    assert len(found) == 5
    assert sorted(Counter(assign_folds(units, 3, seed=0)).values()) == [5, 6, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 0, ["train"], 0), "data.fold=0: data.folds=, the number of folds, is missing"),
        ((1, 0, ["train"], 0), "data.folds=1: expected a number from 2, or null"),
        ((3, None, ["train"], 0), "data.fold=null: expected 0 to 2.*-m data.fold=0,1,2 trains on each"),
        ((3, 3, ["train"], 0), "data.fold=3: expected 0 to 2"),
        ((3, -1, ["train"], 0), "data.fold=-1: expected 0 to 2"),
        ((3, 0, [], 0), r"data.folds_from=\[\]: expected splits such as"),
        ((3, 0, ["train", "test"], 0), r"data.folds_from=\[train,test\]: .* no test split"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(SegmentError, match=message):
        read_folds(*arguments)


def add_pair(images, masks, identity: str, seed: int) -> None:
    write_pair(images / f"{identity}.png", masks / f"{identity}.png", np.arange(64).reshape(8, 8) % 3, seed)


@pytest.fixture
def photos(tmp_path):
    """Write 21 pairs of seven patients, three images each."""
    for seed, identity in enumerate(IDS):
        add_pair(tmp_path / "images", tmp_path / "masks", identity, seed)
    return tmp_path


def folder(root, fold: int, **loading) -> FolderDataModule:
    loading = {"folds": 3, "folds_from": ["train", "val"], "groups": {"pattern": "^(.)_"}} | loading
    return FolderDataModule(str(root), ["a", "b", "c"], fold=fold, **loading)


def test_each_image_is_held_out_once_and_groups_stay_together(photos):
    held_out = []
    for fold in range(3):
        data = folder(photos, fold)
        train, val = ({sample.id for sample in data.split_samples(split)} for split in ("train", "val"))
        assert train | val == {*IDS}
        assert not {id[0] for id in train} & {id[0] for id in val}
        assert {*data.image_groups("val")} == {id[0] for id in val}
        held_out += val
    assert sorted(held_out) == IDS


def test_groups_that_are_in_two_splits_are_named(photos, capsys):
    data = FolderDataModule(str(photos), ["a", "b", "c"], groups={"pattern": "^(.)_"}, crop_size=[8, 8])
    train, val = ({id[0] for id in (one.id for one in data.split_samples(split))} for split in ("train", "val"))
    assert (shared := sorted(train & val))
    data.setup("fit")
    found = re.findall(
        "^note: train and val share images of the groups (.+): write .*optimistic$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert found == [", ".join(shared[:3]) + ", ..." * (len(shared) > 3)]
    report = examine(data, ["train", "val"])
    assert [note.kind for note in report.notes if "train and val share" in note.message] == ["leakage"]
    assert examine(folder(photos, 1), ["train", "val"]).notes == []
    assert shared_groups(["a1"], ["a1"], block=2) == ""
    assert shared_groups(["of training"], ["a1"], pattern="^(a)") == ""  # a training needs no groups
    wrong = FolderDataModule(str(photos), ["a", "b", "c"], groups={"pattern": "^(x)"})
    assert [one.kind for one in examine(wrong, ["train", "val"]).problems] == ["groups"]


def test_blocks_are_those_of_all_images(photos):
    names = [{*folder(photos, fold, groups={"block": 3}).image_groups("val")} for fold in range(3)]
    assert sorted(name for found in names for name in found) == [f"block {i}" for i in range(7)]


def test_what_identifies_a_cross_validation_is_the_same_for_all_folds(photos):
    found = [folder(photos, fold) for fold in (0, 1)]
    facts = [describe_data(data, "val", 7)["folds"] for data in found]
    assert facts[1] == {**facts[0], "fold": 1}
    assert facts[0]["of"] == "3 folds of train+val"
    assert facts[0]["images"] == 21
    hashes = [data.listing_hashes() for data in found]
    assert hashes[0]["folds"] == hashes[1]["folds"] == facts[0]["files"]
    assert hashes[0]["val"] != hashes[1]["val"]
    assert folder(photos, 0, folds_seed=5).listing_hashes()["folds"] != hashes[0]["folds"]
    assert "folds" not in describe_data(found[0], "train", 14)


def test_other_splits_stay_as_they_are(camvid_root):
    data = CamVidDataModule(str(camvid_root), folds=2, fold=1, crop_size=[40, 40])
    whole = CamVidDataModule(str(camvid_root), crop_size=[40, 40])
    lists = {split: {sample.id for sample in whole.samples(split)} for split in ("train", "val")}
    held_out, others = ({sample.id for sample in data.split_samples(split)} for split in ("val", "train"))
    assert held_out | others == lists["train"]  # val.txt is not used
    assert len(held_out) == len(others)
    assert [*data.dataset("val").samples] == data.split_samples("val")


def test_what_cannot_be_divided(photos):
    with pytest.raises(
        SegmentError, match=r"data.folds=8: there are only 7 images or groups of images to divide: a, b, c$"
    ):
        folder(photos, 0, folds=8).split_samples("val")
    with pytest.raises(SegmentError, match=r"data.folds: these images are drawn"):
        ShapesDataModule(folds=2, fold=0)
    with pytest.raises(SegmentError, match=r"data.train_split and data.val_split are both 'val'"):
        folder(photos, 0, train_split="val")
    for split in ("train", "val"):
        add_pair(photos / split / "images", photos / split / "masks", "1", 0)
    with pytest.raises(SegmentError, match="several images are called '1'"):
        folder(photos, 0).split_samples("val")
