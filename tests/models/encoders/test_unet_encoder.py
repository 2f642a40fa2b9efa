"""U-Net's own encoder: its arguments, and poolings that round up or down."""

import pytest
import torch

from segment.errors import SegmentError
from segment.models.encoders.unet_encoder import UNetEncoder


def test_a_file_gives_the_same_features(tmp_path):
    encoder, image = UNetEncoder(width=4).eval(), torch.randn(1, 3, 33, 50)
    torch.save(encoder.state_dict(), tmp_path / "unet.pth")
    loaded = UNetEncoder(width=4, weights=str(tmp_path / "unet.pth")).eval()
    assert (encoder.pretrained, loaded.pretrained) == (False, True)
    for stride, feature in loaded(image).items():
        assert torch.equal(feature, encoder(image)[stride])


def test_poolings_round_up_or_down():
    image = torch.randn(1, 3, 17, 35)
    up, down = UNetEncoder(width=4).eval(), UNetEncoder(width=4, ceil_mode=False).eval()
    assert (up.layout, down.layout, down.min_size) == ("aligned", "rounded down", 16)
    assert up(image)[16].shape[-2:] == (2, 3)
    assert down(image)[16].shape[-2:] == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagenet"}, "no ImageNet weights"),
        ({"width": 0}, "model.encoder.width=0: expected a number from 1"),
        ({"depth": 0}, "model.encoder.depth=0: expected a number from 1"),
        ({"norm": "layer"}, "norm=layer: expected batch or group"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(SegmentError, match=message):
        UNetEncoder(**arguments)
