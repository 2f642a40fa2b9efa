"""Items and batches of a data set."""

import pytest
import torch

from segment.data.datasets.voc import VOCDataModule
from segment.data.samplers import Draw


def test_padding_is_all_void(voc_root):
    data = VOCDataModule(str(voc_root)).dataset("val")
    assert (data[Draw(0, padding=True)]["mask"] == 255).all()


def test_augmentation_leaves_the_training_processs_generator_alone(voc_root):
    data = VOCDataModule(str(voc_root), crop_size=(20, 20)).dataset("train", augment=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = data[Draw(0, epoch=0)], data[Draw(0, epoch=1)]
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(first["image"], second["image"])


def test_a_batch_is_bytes_and_channels_last(voc_root):
    batch = VOCDataModule(str(voc_root), crop_size=(20, 30)).dataset("train", augment=True).__getitems__([0, 1])
    assert batch["image"].shape == (2, 3, 20, 30)
    assert batch["mask"].shape == (2, 20, 30)
    assert batch["image"].dtype == batch["mask"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["id"] == ["2007_00t0", "2007_00t1"]


@pytest.mark.parametrize(
    "options",
    [
        {"crop_size": (20, 30)},
        {"crop_size": (120, 90), "scale": (0.3, 1.2)},  # padded
        {"crop_size": (20, 30), "cat_max_ratio": 0.5, "colour": 0.5},
        {"crop_size": None, "batch_size": 1},
    ],
)
def test_a_batch_has_the_pixels_of_its_items_and_leaves_no_trace(voc_root, options):
    data = VOCDataModule(str(voc_root), **options).dataset("train", augment=True)
    keys = [Draw(0, epoch, padding=epoch == 1) for epoch in range(6)]
    state = torch.get_rng_state()
    batch = data.__getitems__(keys)
    assert torch.equal(torch.get_rng_state(), state)
    for image, mask, item in zip(batch["image"], batch["mask"], [data[key] for key in keys], strict=True):
        assert torch.equal(image, item["image"])
        assert torch.equal(mask, item["mask"])
    assert (batch["mask"][1] == 255).all()
    assert not (batch["mask"] == 255).all()


def test_the_listing_hash_depends_on_names_sizes_and_labels_but_not_on_the_folder(voc_root, tmp_path):
    first = VOCDataModule(str(voc_root)).dataset("val").listing_hash()
    (voc_root / "VOCdevkit").rename(tmp_path / "moved")
    (tmp_path / "there").mkdir()
    (tmp_path / "moved").rename(tmp_path / "there" / "VOCdevkit")
    data = VOCDataModule(str(tmp_path / "there"))
    assert data.dataset("val").listing_hash() == first
    with (tmp_path / "there/VOCdevkit/VOC2012/JPEGImages/2007_00v0.jpg").open("ab") as file:
        file.write(b"0")
    assert data.dataset("val").listing_hash() != first
