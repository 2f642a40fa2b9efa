"""Class maps against torch's interpolation and argmax."""

import pytest
import torch
from torch.nn import functional as F

from segment.models.class_map import argmax_classes, class_map
from segment.models.decoders.fcn import upsample


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(5, 6), (1, 1), (1, 9), pytest.param((40, 30), marks=pytest.mark.slow)])
def test_class_map_is_the_argmax_of_the_upsampled_scores(size, layout):
    """This holds for ties too, which are frequent among whole numbers, and for segments of all sizes."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (2, 7, *size), generator=generator).float()
    height, width = size
    for smooth in (scores, (25 * F.avg_pool2d(scores, 5, stride=1, padding=2)).round()):
        for factor in (1, 2, 4, 8, 32):
            laid = smooth.contiguous(memory_format=layout)
            found = class_map(laid, factor * height - factor // 2, factor * width, factor)
            expected = upsample(smooth, factor).argmax(1)[:, : factor * height - factor // 2]
            assert torch.equal(found, expected)
    scores = torch.randn(scores.shape, generator=generator)
    for wanted in ((height, width), (8 * height - 3, 8 * width - 7), (3 * height, 3 * width + 1)):
        resized = F.interpolate(scores, wanted, mode="bilinear", align_corners=False)
        different = class_map(scores, *wanted) != resized.argmax(1)
        assert different.sum() <= 1  # rounding may decide where two classes meet


@pytest.mark.parametrize("shape", [(1, 1, 4), (2, 21, 30, 50), (3, 150, 2, 2, 7)])
def test_argmax_takes_the_first_of_equal_scores(shape):
    scores = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(argmax_classes(scores), scores.argmax(1))
