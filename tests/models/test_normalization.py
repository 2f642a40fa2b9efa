"""Normalisation by name, by table and by encoder, against the published formulas."""

import pytest
import torch

from segment.errors import SegmentError
from segment.models.decoders.unet import UNetDecoder
from segment.models.encoders.mobilenet import MobileNetV2Encoder
from segment.models.encoders.timm_encoder import TimmEncoder
from segment.models.net import SegmentationNet
from segment.models.normalization import NORMALIZATIONS, read_normalization, same_normalization

TABLE = {"mean": [1, 2, 3], "std": [4, 5, 6]}


def test_nets_normalise_as_their_weights_need_it():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    encoder = MobileNetV2Encoder(None)
    caffe = SegmentationNet(encoder, UNetDecoder, 2, "caffe").normalize(image)
    expected = torch.tensor([30 - 104.00698793, 20 - 116.66876762, 10 - 122.67891434])
    torch.testing.assert_close(caffe.flatten(), expected)
    imagenet = SegmentationNet(encoder, UNetDecoder, 2).normalize(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(imagenet.flatten(), (torch.tensor([10, 20, 30]) / 255 - mean) / std)
    for name, wanted in (("mobilenetv3_small_050", imagenet), ("mobilenetv4_conv_small_050", image / 127.5 - 1)):
        net = SegmentationNet(TimmEncoder(name, None), UNetDecoder, 2)
        torch.testing.assert_close(net.normalize(image), wanted)
        again = SegmentationNet(encoder, UNetDecoder, 2, net.normalization)
        torch.testing.assert_close(again.normalize(image), wanted)


@pytest.mark.parametrize(
    "value",
    [
        "rgb",
        7,
        {"mean": [1, 2, 3]},
        {"mean": [1, 2], "std": [1, 1]},
        {**TABLE, "std": [0, 0, 0]},
        {**TABLE, "std": [0.2, 0.2, 0.2]},
        {**TABLE, "std": "abc"},
        {**TABLE, "mean": [float("nan")] * 3},
        {**TABLE, "std": [1e300] * 3},
        {**TABLE, "rgb": True},
    ],
)
def test_other_values_are_refused(value):
    with pytest.raises(SegmentError, match=r"model.normalization=.*: expected imagenet, caffe, unit, null, or {mean: "):
        read_normalization(value)


def test_normalizations_are_compared_up_to_rounding():
    imagenet = NORMALIZATIONS["imagenet"]
    rounded = read_normalization({"mean": torch.tensor(imagenet.mean).tolist(), "std": imagenet.std})
    assert rounded != imagenet
    assert same_normalization(rounded, imagenet)
    assert not same_normalization(imagenet._replace(bgr=True), imagenet)
    assert not same_normalization(NORMALIZATIONS["unit"], imagenet)
