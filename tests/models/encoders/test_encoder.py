"""The contract that every encoder fulfils, with every decoder."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from segment.cli.build import instantiate
from segment.cli.config import CONF_DIR, load_config
from segment.errors import SegmentError
from segment.models.decoders.fcn import FCNDecoder
from segment.models.decoders.unet import UNetDecoder
from segment.models.encoders.encoder import CeilMaxPool2d, Encoder
from segment.models.net import SegmentationNet
from segment.models.published.fcn_resnet import FCNHead

ENCODERS = sorted(path.stem for path in Path(CONF_DIR, "model", "encoder").glob("*.yaml"))
ENCODERS = [name for name in ENCODERS if "paper" not in name and "segnet" not in name]  # for decoders of their own
QUICK = {"mobilenet_v2", "unet_small"}
DECODERS = {"fcn": partial(FCNDecoder, skip_strides=[8, 4]), "unet": UNetDecoder}
VARIANTS = {
    "fcn_head": FCNHead,
    "fcn_transposed": partial(FCNDecoder, skip_strides=[8, 4], upsampling="transposed"),
    "fcn_nearest": partial(FCNDecoder, skip_strides=[8, 4], upsampling="nearest"),
    "unet_nearest": partial(UNetDecoder, upsampling="nearest"),
    "unet_transposed": partial(UNetDecoder, upsampling="transposed", norm="group"),
}
"""Decoders that are tried with one encoder, since what they upsample has the same sizes with all."""


def load_encoder(name: str) -> Encoder:
    return instantiate(load_config([f"model/encoder={name}", "model.encoder.weights=null"]).model.encoder)


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ENCODERS]
)
def encoder(request):
    return load_encoder(request.param)


def test_features_have_the_declared_channels_and_strides(encoder):
    encoder.eval()
    with torch.no_grad():
        features = encoder(torch.randn(1, 3, 64, 96))
    assert {stride: f.shape for stride, f in features.items()} == {
        stride: (1, channels, 64 // stride, 96 // stride) for stride, channels in encoder.channels.items()
    }


@pytest.mark.parametrize("decoder", DECODERS)
def test_any_size_in_same_size_out(encoder, decoder):
    if encoder.layout == "rounded down" and "fcn" in decoder:
        pytest.skip("these decoders do not accept this layout")
    check_any_size(encoder, DECODERS[decoder])


@pytest.mark.slow
@pytest.mark.parametrize("decoder", VARIANTS)
def test_any_size_with_other_decoders(decoder):
    check_any_size(load_encoder("mobilenet_v2"), VARIANTS[decoder])


def check_any_size(encoder: Encoder, decoder: Callable[..., nn.Module]) -> None:
    """Assert that scores have the size of the image, and that every parameter gets a gradient."""
    net = SegmentationNet(encoder, decoder, num_classes=5)
    for parameter in net.decoder.score.parameters():
        torch.nn.init.normal_(parameter)
    net.eval()
    for height, width in ((1, 1), (33, 65), (75, 50)):
        if min(height, width) < encoder.min_size:
            with pytest.raises(SegmentError, match="this encoder needs 16 pixels or more on each side"):
                net(torch.zeros(1, 3, height, width))
            continue
        image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
        with torch.no_grad():
            scores = net(net.normalize(image))
        assert scores.shape == (1, 5, height, width)
        assert torch.equal(net.predict(image), scores.argmax(1))
    net.train()
    net(net.normalize(torch.randint(0, 256, (2, 3, 64, 70), dtype=torch.uint8))).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 8), (7, 9)])
def test_pooling_is_the_same_when_exported(size, monkeypatch):
    image = torch.randn(2, 3, *size)
    expected = CeilMaxPool2d()(image)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(CeilMaxPool2d()(image), expected)
