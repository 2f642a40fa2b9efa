"""Image and mask stay aligned, and uncovered areas are void."""

import pytest
import torch
from torchvision import tv_tensors

from segment.data.transforms import MEAN_COLOUR, RandomScaleCrop, train_transform
from segment.errors import SegmentError


def coded(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Return a checkerboard with fields of 20 pixels: labels 0 and 1, grey values 0 and 200."""
    y, x = torch.meshgrid(torch.arange(height) // 20, torch.arange(width) // 20, indexing="ij")
    mask = (y + x) % 2
    image = torch.stack([mask * 200] * 3).to(torch.uint8)
    return tv_tensors.Image(image), tv_tensors.Mask(mask.to(torch.uint8))


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.0, 1.6, 2.0])
def test_image_and_mask_stay_aligned(scale):
    torch.manual_seed(0)
    for _ in range(5):
        image, mask = train_transform((97, 90), (scale, scale))(*coded(130, 150))
        assert image.shape == (3, 97, 90)
        assert mask.shape == (97, 90)
        valid = mask != 255
        # At an interpolated edge, a pixel is still closer to the grey value of its own label.
        wrong = (image[0] > 100)[valid] != (mask == 1)[valid]
        assert wrong.float().mean() < 0.02


def test_padding_is_mean_colour_and_void():
    image, mask = RandomScaleCrop((120, 100), (0.5, 0.5))(*coded(100, 120))
    void = mask == 255
    assert int(void.sum()) == 120 * 100 - 50 * 60
    assert (image[:, void] == torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None]).all()


def test_scale_is_relative_to_the_image_or_to_a_short_side():
    """At scale 2 a field of 20 pixels has 40 in the crop; so it has at scale 1 if the short side becomes 200."""
    image, mask = coded(100, 140)
    for transform in (RandomScaleCrop((120, 120), (2, 2)), RandomScaleCrop((120, 120), (1, 1), short_side=200)):
        _, out = transform(image, mask)
        changes = (out[:, 1:] != out[:, :-1]).any(0).nonzero().flatten().diff()
        assert set(changes.tolist()) <= {40}


def test_identity_at_scale_one_and_full_size():
    image, mask = coded(60, 80)
    out = train_transform((60, 80), (1, 1), flip=0)(image, mask)
    assert torch.equal(out[0], image)
    assert torch.equal(out[1], mask)


def test_flip_is_of_image_and_mask():
    image, mask = coded(60, 80)
    image[:, :, :10] = 255
    mask[:, :10] = 7
    flipped, labels = train_transform((60, 80), (1, 1), flip=1)(image, mask)
    assert torch.equal(flipped, image.flip(-1))
    assert torch.equal(labels, mask.flip(-1))


def test_crops_that_one_class_fills_are_avoided():
    """A quarter of the image has two classes in equal parts: most crops lie there."""
    mask = torch.zeros(200, 200, dtype=torch.uint8)
    mask[100:, 100:] = torch.randint(0, 2, (100, 100), dtype=torch.uint8)
    image = tv_tensors.Image(torch.zeros(3, 200, 200, dtype=torch.uint8))

    def share(ratio: float) -> float:
        torch.manual_seed(0)
        transform = RandomScaleCrop((40, 40), (1, 1), cat_max_ratio=ratio)
        crops = [transform(image, tv_tensors.Mask(mask))[1] for _ in range(60)]
        return sum(bool((crop == 0).float().mean() <= 0.75) for crop in crops) / 60

    assert share(1.0) < 0.4
    assert share(0.75) > 0.8


@pytest.mark.parametrize("options", [{"rotation": 30.0}, {"elastic": 6.0}, {"rotation": 180.0, "elastic": 3.0}])
def test_warps_keep_image_and_mask_aligned_and_uncover_void(options):
    torch.manual_seed(0)
    transform = train_transform((120, 120), (1, 1), flip=0, **options)
    for _ in range(5):
        image, mask = transform(*coded(120, 120))
        assert image.shape == (3, 120, 120)
        void = mask == 255
        assert 0 < void.float().mean() < 0.5
        assert (mask[~void] <= 1).all()
        wrong = (image[0] > 100)[~void] != (mask == 1)[~void]
        assert wrong.float().mean() < 0.06
        colour = torch.tensor(MEAN_COLOUR)[:, None]
        assert (image[:, void] == colour).all()
        seen = image[:, ~void].int()
        assert ((seen >= 0) & (seen <= 200)).all()  # the padding is not interpolated into the image
        assert (seen.max(0).values == seen.min(0).values).all()


@pytest.mark.slow
def test_elastic_shifts_have_the_given_deviation():
    """Columns coded by number show the distance that a pixel moved, for U-Net's 10 pixels on a 3x3 grid."""
    torch.manual_seed(0)
    columns = torch.arange(240, dtype=torch.uint8).repeat(240, 1)
    moved = []
    for _ in range(40):
        _, mask = train_transform((240, 240), (1, 1), flip=0, elastic=10.0)(
            tv_tensors.Image(columns.repeat(3, 1, 1)), tv_tensors.Mask(columns.clone())
        )
        moved.append(float(mask[120, 120]) - 120)  # the middle of the grid is one of its points
    assert 7 < torch.tensor(moved).std() < 13


def test_whole_images_without_a_crop_size():
    image, mask = coded(50, 70)
    out = train_transform(None, flip=0)(image, mask)
    assert torch.equal(out[0], image)
    assert torch.equal(out[1], mask)


@pytest.mark.parametrize("wrong", [{"cat_max_ratio": 0.0}, {"flip": 2.0}, {"rotation": -1.0}, {"elastic": -1.0}])
def test_options_out_of_range(wrong):
    with pytest.raises(SegmentError, match=r"data: expected cat_max_ratio"):
        train_transform((4, 4), **wrong)
