"""Image and mask stay together, and what is uncovered is void."""

import pytest
import torch
from torchvision import tv_tensors

from segment.data.transforms import MEAN_COLOUR, RandomScaleCrop, train_transform


def coded(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """A checkerboard of 20 pixels: labels 0 and 1, grey values 0 and 200."""
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
        # Where an edge is interpolated, each pixel is still nearer to its own label's grey value.
        wrong = (image[0] > 100)[valid] != (mask == 1)[valid]
        assert wrong.float().mean() < 0.02


def test_padding_is_mean_colour_and_void():
    image, mask = RandomScaleCrop((120, 100), (0.5, 0.5))(*coded(100, 120))
    void = mask == 255
    assert int(void.sum()) == 120 * 100 - 50 * 60
    assert (image[:, void] == torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None]).all()


def test_scale_means_the_size_in_the_crop():
    """A region of 60 pixels fills a crop of 120 at scale 2, relative to the image or to a short side."""
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
