"""The U-Net decoder: its widths, and skips of other sizes."""

import pytest
import torch

from segment.errors import SegmentError
from segment.models.decoders.unet import UNetDecoder, crop_or_pad


def widths(channels: dict[int, int], **arguments: int) -> list[int]:
    """Return the number of channels of each level, from coarse to fine."""
    return [level[0].out_channels for level in UNetDecoder(channels, 2, **arguments).convolve]


def test_default_width_follows_the_finest_feature():
    assert widths({1: 64, 2: 128, 4: 256, 8: 512, 16: 1024}) == [512, 256, 128, 64]  # the paper's
    assert widths({2: 64, 4: 256, 8: 512}) == [64, 32]  # a ResNet's
    assert widths({2: 16, 4: 24, 8: 32}) == [64, 32]  # 16 times the stride
    assert widths({1: 4, 2: 8}, width=600) == [512]


def test_features_are_cropped_at_the_end_and_padded_around():
    x = torch.ones(1, 1, 3, 3)
    assert torch.equal(crop_or_pad(x, 2, 2), torch.ones(1, 1, 2, 2))
    padded = crop_or_pad(x, 3, 6)[0, 0]
    assert padded.tolist() == [[0, 1, 1, 1, 0, 0]] * 3


def test_wrong_arguments():
    for arguments, message in (
        ({"upsampling": "cubic"}, "expected nearest, bilinear or transposed"),
        ({"norm": "layer"}, "expected batch or group"),
        ({"width": 0}, "model.decoder.width=0: expected a number from 1"),
    ):
        with pytest.raises(SegmentError, match=message):
            UNetDecoder({2: 8, 4: 16}, 2, **arguments)
