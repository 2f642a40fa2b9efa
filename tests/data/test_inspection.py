"""Summaries of pairs come in order, also from several processes."""

import shutil

from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.shapes import ShapesDataModule
from segment.data.inspection import summarize_pairs


def test_more_pairs_than_one_process_reads(folder_root):
    for i in range(6, 40):
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            shutil.copy(folder_root / f"train/{kind}/0.{suffix}", folder_root / f"train/{kind}/{i}.{suffix}")
    image = folder_root / "train/images/3.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    dataset = FolderDataModule(str(folder_root), classes=["a", "b", "c"]).make_dataset("train", None)
    pairs = list(summarize_pairs(dataset))
    assert len(pairs) == 40
    assert [i for i, pair in enumerate(pairs) if pair.problem] == [[s.id for s in dataset.samples].index("3")]


def test_a_data_set_without_files():
    dataset = ShapesDataModule(train_size=3).make_dataset("train", None)
    pairs = list(summarize_pairs(dataset))
    assert len({pair.image_hash for pair in pairs}) == 3
    assert all(pair.pixels.sum() == pair.size[0] * pair.size[1] for pair in pairs)
