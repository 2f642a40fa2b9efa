"""Roots and split lists, as users have them."""

import pytest

from segment.data.datasets.voc import VOCDataModule
from segment.errors import SegmentError


def test_a_root_may_be_any_folder_of_the_path(voc_root):
    for root in (voc_root, voc_root / "VOCdevkit", voc_root / "VOCdevkit" / "VOC2012"):
        assert len(VOCDataModule(str(root)).dataset("val")) == 3


def test_a_root_may_be_a_link_or_relative(voc_root, tmp_path, monkeypatch):
    base = voc_root / "VOCdevkit" / "VOC2012"
    (tmp_path / "link").symlink_to(base)
    monkeypatch.chdir(base / "JPEGImages")
    for root in (tmp_path / "link", "..", "../.."):
        assert len(VOCDataModule(str(root)).dataset("val")) == 3


def test_missing_root(tmp_path):
    with pytest.raises(
        SegmentError,
        match=r"no data set at data.root=.*nowhere.*VOCdevkit/VOC2012.* there; data.download=true downloads it$",
    ):
        VOCDataModule(str(tmp_path / "nowhere")).setup("fit")


def test_a_list_that_is_missing_or_empty(voc_root):
    with pytest.raises(SegmentError, match=r"test2.txt is missing; lists found there: train, val"):
        VOCDataModule(str(voc_root)).dataset("test2")
    with pytest.raises(SegmentError, match=r"test.txt is missing: .* without masks, after registration"):
        VOCDataModule(str(voc_root)).dataset("test")
    (voc_root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("\n\n")
    with pytest.raises(SegmentError, match=r"val.txt is empty"):
        VOCDataModule(str(voc_root)).dataset("val")
