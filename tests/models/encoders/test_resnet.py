"""ResNet encoders against torchvision's."""

import pytest
import torch
from torch import nn

from segment.errors import SegmentError
from segment.models.encoders.resnet import ResNetEncoder
from tests.models.conftest import build_net, classifier_file


def test_a_file_gives_torchvisions_features(tmp_path):
    model, path = classifier_file(tmp_path, "resnet18")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*list(model.children())[:-2])(image)
        torch.testing.assert_close(ResNetEncoder("resnet18", path).eval()(image)[32], expected)


@pytest.mark.parametrize("stride", [pytest.param(8, marks=pytest.mark.slow), 16])
@pytest.mark.parametrize("encoder", ["resnet50", "timm"])
def test_output_stride_by_dilation(encoder, stride):
    """The weights are the same; the features lie closer together."""
    overrides = ["model=fcn32s", f"model/encoder={encoder}", "model.encoder.weights=null"]
    net = build_net(*overrides, f"model.encoder.output_stride={stride}")
    coarse = build_net(*overrides)
    assert max(net.encoder.channels) == stride
    assert {*net.encoder.state_dict()} == {*coarse.encoder.state_dict()}
    with torch.no_grad():
        features = net.encoder(torch.randn(1, 3, 64, 96))
    assert {s: f.shape[1:] for s, f in features.items()} == {
        s: (c, 64 // s, 96 // s) for s, c in net.encoder.channels.items()
    }


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet18", 8, "resnet18 has no dilation; use 32"),
        ("resnet50", 4, "expected 8, 16 or 32"),
        ("vgg11", 32, "expected a ResNet of torchvision"),
    ],
)
def test_wrong_arguments(name, stride, message):
    with pytest.raises(SegmentError, match=message):
        ResNetEncoder(name, None, stride)
