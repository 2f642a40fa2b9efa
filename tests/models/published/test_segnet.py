"""SegNet: its size, its unpooling, odd sizes, and the ways to upsample that it is compared with."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.net import SegmentationNet
from segment.models.published.segnet import PositionMaxPool2d, SegNetDecoder, SegNetEncoder, unpool
from tests.models.conftest import build_net, classifier_file

SIZES = [(1, 1), (2, 2), (4, 6), (5, 8), (7, 9)]


def small_segnet(upsampling: str = "unpooling") -> SegmentationNet:
    torch.manual_seed(0)
    return SegmentationNet(SegNetEncoder(4, weights=None), partial(SegNetDecoder, upsampling=upsampling), 3)


def test_the_size_of_segnet():
    """Twice the 13 convolutions of VGG16, 14.7 M weights in each half, as in the paper's section 3."""
    with torch.device("meta"):
        net = SegmentationNet(SegNetEncoder(weights=None), SegNetDecoder, num_classes=12)
    halves = [sum(p.numel() for p in half.parameters()) for half in (net.encoder, net.decoder)]
    assert halves == [14723136, 14726796]
    mirrored = [m.out_channels for m in net.decoder.modules() if isinstance(m, nn.Conv2d)]
    assert mirrored == [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 12]  # segnet_train.prototxt
    assert sum(isinstance(m, nn.Conv2d) for m in net.encoder.modules()) == 13
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 25  # the scores have none


@pytest.mark.parametrize("size", SIZES)
def test_unpooling_puts_values_where_pooling_took_them(size):
    torch.manual_seed(0)
    image = torch.randn(2, 3, *size)
    values, positions = PositionMaxPool2d()(image)
    found = unpool(values, positions)[..., : size[0], : size[1]]
    assert torch.equal(values, F.max_pool2d(image, 2, ceil_mode=True))
    taken = found != 0
    assert torch.equal(found[taken], image[taken])
    assert taken.sum() == values.numel()
    pooled = F.max_pool2d(image, 2, ceil_mode=True, return_indices=True)
    assert torch.equal(found, F.max_unpool2d(*pooled, 2, output_size=size))


@pytest.mark.parametrize("size", SIZES)
def test_pooling_is_the_same_when_exported(size, monkeypatch):
    image = torch.randn(2, 3, *size)
    expected = PositionMaxPool2d()(image)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert all(map(torch.equal, PositionMaxPool2d()(image), expected))


def test_the_net_unpools_its_encoders_positions():
    """Without convolutions that mix pixels, only those that all poolings chose have a score."""
    net = small_segnet().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
            nn.init.zeros_(module.bias)
    image = torch.rand(1, 3, 37, 50) + 0.1
    with torch.no_grad():
        scores = net(image)
    assert scores.shape == image.shape
    values, positions = F.max_pool2d(image, 32, ceil_mode=True, return_indices=True)
    expected = F.max_unpool2d(values, positions, 32, output_size=(37, 50))
    assert torch.equal(scores != 0, expected != 0)
    assert torch.allclose(scores, expected, rtol=1e-3)  # each of the 25 batch norms divides by sqrt(1 + 1e-5)


@pytest.mark.parametrize("upsampling", ["unpooling", "nearest", "bilinear", "transposed"])
def test_any_size_in_same_size_out(upsampling):
    net = small_segnet(upsampling)
    for size in ((1, 1), (33, 65), (37, 50)):
        with torch.no_grad():
            assert net.eval()(torch.rand(2, 3, *size)).shape == (2, 3, *size)
    net.train()(torch.randn(2, 3, 64, 70)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters() if p.ndim > 1)


@pytest.mark.slow
def test_pretrained_weights_are_vgg16s(tmp_path):
    vgg, path = classifier_file(tmp_path, "vgg16_bn")
    encoder = build_net("model=segnet", f"model.encoder.weights={path}").encoder
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(encoder.eval()(image)[32], vgg.features(image), atol=1e-5)
    assert encoder.pretrained


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model/encoder=vgg16_bn"], "needs an encoder with layout 'SegNet', got 'aligned': use model/encoder=segnet"),
        (["model.decoder.upsampling=cubic"], "upsampling=cubic: expected nearest, bilinear, transposed or unpooling"),
        (["model.encoder.width=16"], "model.encoder.width=16: expected 64, or model.encoder.weights=null"),
        (["model/encoder=segnet_small", "model.encoder.width=0"], "model.encoder.width=0: expected a number from 1"),
    ],
)
def test_wrong_arguments(overrides, message):
    weights = [] if "model.encoder.width=16" in overrides else ["model.encoder.weights=null"]
    with pytest.raises(SegmentError, match=message):
        build_net("model=segnet", *overrides, *weights)
