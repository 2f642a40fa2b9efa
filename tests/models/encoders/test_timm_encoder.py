"""Encoders from timm against timm's own networks."""

import pytest
import timm
import torch

from segment.errors import SegmentError
from segment.models.encoders.timm_encoder import TimmEncoder
from tests.models.conftest import build_scoring_net

NAMES = [
    "resnet26d",
    "efficientnet_lite0",
    "mobilenetv3_large_100",
    "convnext_atto",
    "regnety_002",
    "densenet121",
]


def test_a_file_gives_timms_features(tmp_path):
    model = timm.create_model("mobilenetv3_small_050", pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    encoder = TimmEncoder("mobilenetv3_small_050", str(tmp_path / "w.pth")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(encoder(image)[32], expected)


def test_weights_that_do_not_fit_are_named(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "v.pth")
    with pytest.raises(SegmentError, match=r"v.pth does not fit ResNet: keys 100 missing"):
        TimmEncoder("resnet18", str(tmp_path / "v.pth"))


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet1", 32, r"timm has no network 'resnet1'; did you mean \w+"),
        ("densenet121", 8, "no output stride 8"),
        ("vgg11", 8, "has no output stride 8"),
        ("vit_tiny_patch16_224", 32, "choose a convolutional network"),
    ],
)
def test_wrong_arguments(name, stride, message):
    with pytest.raises(SegmentError, match=message):
        TimmEncoder(name, None, stride)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["fcn8s", "unet"])
def test_named_networks(name, model):
    net = build_scoring_net(f"model={model}", "model/encoder=timm", f"model.encoder.name={name}")
    for batch, height, width in ((1, 1, 1), (1, 33, 65), (2, 75, 100)):
        image = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        with torch.no_grad():
            assert net.eval()(net.normalize(image)).shape == (batch, 5, height, width)
    net.train()(net.normalize(torch.randint(0, 256, (2, 3, 64, 70), dtype=torch.uint8))).mean().backward()
