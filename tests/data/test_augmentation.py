"""Transforms of ``data.augment``: masks are void where they fill, sizes stay, random numbers are seeded."""

import random

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.data.augmentation import Augmentation, generators_restored, seed_generators
from segment.data.samplers import Draw
from segment.errors import SegmentError

FILLS = (0, 1, 124, [124, 116, 104], None)


def pair(side=32):
    """Return an image whose red is 200 times the label 1 of its mask."""
    mask = torch.ones(side, side, dtype=torch.uint8)
    return tv_tensors.Image((200 * mask).repeat(3, 1, 1)), tv_tensors.Mask(mask)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    "transform",
    [
        lambda fill: v2.RandomRotation((30, 60), fill=fill),
        lambda fill: v2.RandomAffine(0, translate=(0.5, 0.5), fill=fill),
        lambda fill: v2.RandomPerspective(p=1, fill=fill),
        lambda fill: v2.ElasticTransform(300.0, fill=fill),
        lambda fill: v2.Compose([v2.Pad(9, fill=fill), v2.RandomCrop(32)]),
        lambda fill: v2.Compose([v2.Resize(20), v2.RandomCrop(32, pad_if_needed=True, fill=fill)]),
        lambda fill: v2.RandomApply([v2.RandomChoice([v2.RandomRotation((30, 60), fill=fill)])], p=1),
        lambda fill: v2.Compose([v2.RandomZoomOut(fill=fill, p=1, side_range=(2, 3)), v2.Resize((32, 32))]),
    ],
)
def test_masks_are_void_where_a_transform_fills(transform, fill):
    torch.manual_seed(1)
    image, mask = Augmentation([transform(fill)])(*pair())
    assert {*mask.unique().tolist()} == {1, 255}
    filled = 0 if fill is None else fill
    if filled != 1 and not isinstance(filled, list):  # pixels far from a border are either the image's or filled
        assert (image[0][mask == 1] > filled).float().mean() > 0.6


def test_transforms_of_the_image_alone_leave_the_mask():
    torch.manual_seed(1)
    image, mask = Augmentation([v2.ColorJitter(brightness=0.9), v2.GaussianNoise(), v2.JPEG(20)])(*pair())
    assert mask.equal(pair()[1])
    assert not image.equal(pair()[0])


class Own(v2.Transform):
    """A transform of the user's own; it sees plain masks."""

    def forward(self, image, mask):
        assert mask.shape == (32, 32)
        return image, tv_tensors.Mask(mask * np.uint8(np.random.randint(2, 100)) + random.randint(0, 9))  # noqa: NPY002


def test_own_transforms_are_seeded_and_leave_no_trace():
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    drawn = []
    for seed in (2**40, 2**40, 3):
        with generators_restored():
            seed_generators(seed)
            drawn.append(Augmentation([Own()])(*pair())[1])
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            v2.Resize(16),
            r"^data.augment: Resize makes uint8 3x16x16 and uint8 16x16 of uint8 3x32x32 and uint8 32x32: ",
        ),
        (v2.ToDtype(torch.float32), "makes float32 3x32x32"),
        (v2.Grayscale(), "makes uint8 1x32x32"),
        (v2.ToPILImage(), "ToPILImage makes Image and Mask of"),
        (v2.RandAugment(), "^data.augment: RandAugment: Inputs of type Mask are not supported"),
        (v2.CutMix(num_classes=3), "^data.augment: CutMix: "),
    ],
)
def test_size_and_type_stay(transform, message):
    with pytest.raises(SegmentError, match=message):
        Augmentation([transform])(*pair())


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (["GaussianBlur"], "^data.augment has 'GaussianBlur', expected tables with the _target_ of a transform"),
        ([v2.Compose([v2.CenterCrop(8)])], "CenterCrop fills masks with class 0; use Pad and RandomCrop$"),
        ([torch.nn.Identity()], "expected tables"),
    ],
)
def test_other_things_are_no_transforms(transforms, message):
    with pytest.raises(SegmentError, match=message):
        Augmentation(transforms)


@pytest.mark.parametrize("value", ["GaussianBlur", None])
def test_a_value_that_is_no_list_is_refused(value):
    config = {"_target_": "segment.data.ShapesDataModule", "augment": value}
    with pytest.raises(SegmentError, match=r"^augment=(GaussianBlur|null): expected a list$"):
        instantiate(config)


def test_a_data_module_draws_the_same_in_any_worker_and_order():
    blur = "{_target_: torchvision.transforms.v2.GaussianBlur, kernel_size: 5, sigma: [0.1, 2.0]}"
    turn = "{_target_: torchvision.transforms.v2.RandomRotation, degrees: 40}"
    overrides = ("data.train_size=6", "data.batch_size=2", "data.crop_size=[32,32]", "data.flip=0.5")
    data = instantiate(load_config([*overrides, f"data.augment=[{turn},{blur}]"]).data)
    plain = instantiate(load_config(overrides).data)
    dataset = data.dataset("train", augment=True)
    first, again = (
        {draw: dataset[draw] for draw in order}
        for order in ([Draw(0), Draw(1), Draw(1, 1)], [Draw(1, 1), Draw(1), Draw(0)])
    )
    for draw, item in first.items():
        assert item["image"].equal(again[draw]["image"])
        assert item["mask"].equal(again[draw]["mask"])
    assert not first[Draw(1)]["image"].equal(first[Draw(1, 1)]["image"])
    assert not first[Draw(0)]["mask"].equal(plain.dataset("train", augment=True)[0]["mask"])
    assert data.dataset("val")[0]["image"].equal(plain.dataset("val")[0]["image"])
