"""Tests of the contracts that encoders, decoders, whole nets and losses keep; see :mod:`segment.testing`."""

from collections.abc import Callable
from math import ceil
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segment.cli.value_types import check_value
from segment.models.decoders.unet import UNetDecoder
from segment.models.encoders.encoder import LAYOUTS
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.models.normalization import Normalization
from segment.models.whole import WholeNet
from segment.training.probes import check_loss

SIZES = ((33, 65), (64, 64), (47, 96))
"""Heights and widths of images, most of them odd: an image may have any size."""
CLASSES = 3
Build = Callable[..., Any]
UNET: Build = UNetDecoder


def images(net: Any, number: int, height: int, width: int) -> Tensor:
    """Return random images (N,3,H,W), enlarged to the smallest side that an encoder takes."""
    generator = torch.Generator().manual_seed(0)
    least = int(net.min_size)
    return torch.randn(number, 3, max(height, least), max(width, least), generator=generator)


def has_plain_state(module: nn.Module) -> bool:
    """Return whether a state dict holds tensors alone, as a checkpoint has to."""
    return all(isinstance(value, Tensor) for value in module.state_dict().values())


def check_gradients(module: nn.Module, value: Tensor) -> None:
    """Check that every trainable parameter has a gradient that is finite: with DDP, one without ends the run."""
    value.backward()  # type: ignore[no-untyped-call]
    lacking = [name for name, one in module.named_parameters() if one.requires_grad and one.grad is None]
    assert not lacking, f"parameters without a gradient: {lacking}"
    wrong = [name for name, one in module.named_parameters() if one.grad is not None and not one.grad.isfinite().all()]
    assert not wrong, f"gradients that are not finite: {wrong}"


# ----- encoders


def test_encoder_declares_its_facts(build_encoder: Build) -> None:
    encoder = build_encoder()
    assert issubclass(type(encoder), nn.Module)
    assert check_value("channels", sorted(encoder.channels.values()), list[int])
    assert encoder.layout in LAYOUTS
    assert isinstance(encoder.normalization, Normalization)
    assert encoder.min_size >= 1
    assert encoder.size_divisor >= 1
    assert isinstance(encoder.pretrained, bool)
    assert isinstance(encoder.stages, nn.ModuleList)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_encoder_gives_the_features_that_it_declares(
    build_encoder: Build, height: int, width: int, number: int
) -> None:
    encoder = build_encoder().eval()
    divisor = encoder.size_divisor
    image = images(encoder, number, *(ceil(side / divisor) * divisor for side in (height, width)))
    features = encoder(image)
    assert {*features} == {*encoder.channels}
    for stride, feature in features.items():
        assert feature.shape[:2] == (number, encoder.channels[stride])
        if encoder.layout == "aligned":
            assert feature.shape[2:] == tuple(ceil(side / stride) for side in image.shape[2:]), f"stride {stride}"


def test_encoder_treats_each_image_alone(build_encoder: Build) -> None:
    encoder = build_encoder().eval()
    image = images(encoder, 2, 64, 64)
    both = encoder(image)
    for stride, alone in encoder(image[:1]).items():
        torch.testing.assert_close(both[stride][:1], alone, rtol=1e-3, atol=1e-4)


def test_encoder_works_in_a_net(build_encoder: Build) -> None:
    encoder = build_encoder()
    if encoder.layout != "aligned":
        pytest.skip(f"its layout is {encoder.layout!r}, which needs a decoder of its own")
    check_net(SegmentationNet(encoder, UNET, CLASSES))


# ----- decoders


def test_decoder_works_in_a_net(build_decoder: Build) -> None:
    check_net(SegmentationNet(UNetEncoder(width=4, depth=4), build_decoder, CLASSES))


def test_decoder_takes_other_channels(build_decoder: Build) -> None:
    decoder = build_decoder(channels={4: 5, 8: 6, 16: 7}, num_classes=CLASSES).eval()
    features = {
        stride: torch.randn(1, width, 64 // stride, 64 // stride) for stride, width in ((4, 5), (8, 6), (16, 7))
    }
    scores = decoder(features)
    assert scores.shape[:2] == (1, CLASSES)
    assert decoder.resize_to_image or scores.shape[-1] * decoder.stride >= 64, "the scores do not cover the image"


# ----- whole nets


def test_net_gives_scores_for_images_of_any_size(build_net: Build) -> None:
    net = build_net(num_classes=CLASSES)
    check_net(net if isinstance(net, SegmentationNet) else WholeNet(net, CLASSES))


def test_net_has_the_number_of_classes_that_is_asked_for(build_net: Build) -> None:
    for classes in (1, 2, 21):
        net = build_net(num_classes=classes)
        net = net if isinstance(net, SegmentationNet) else WholeNet(net, classes)
        assert net.eval()(images(net.encoder, 1, 64, 64)).shape[1] == classes


def check_net(net: SegmentationNet) -> None:
    """Check a net at several sizes, in training and in evaluation, and its weights."""
    for height, width in SIZES:
        image = images(net.encoder, 2, height, width)
        scores = net.train()(image)
        assert scores.shape == (2, CLASSES, *image.shape[2:])
        both = net.eval()(image)
        torch.testing.assert_close(net(image[:1]), both[:1], rtol=1e-3, atol=1e-4)
        assert torch.equal(net(image), both), "the same image gives other scores in evaluation mode"
    check_gradients(net, net.train()(images(net.encoder, 2, 64, 64)).square().mean())
    assert has_plain_state(net)


# ----- losses


def test_loss_is_one_number_with_a_gradient(build_loss: Build) -> None:
    check_loss(build_loss(), CLASSES)


def scores_and_labels() -> tuple[Tensor, Tensor]:
    """Return random scores (2,C,16,16) and labels int64 (2,16,16), of which the upper half is ignored."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (2, 16, 16), generator=generator)
    labels[:, :8] = 255
    return torch.randn(2, CLASSES, 16, 16, generator=generator), labels


def test_loss_ignores_pixels_with_label_255(build_loss: Build) -> None:
    loss, (scores, labels) = build_loss(), scores_and_labels()
    other = scores.clone()
    other[:, :, :8] += torch.randn(2, CLASSES, 8, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(scores, labels), loss(other, labels))


def test_loss_is_finite_where_every_pixel_is_ignored(build_loss: Build) -> None:
    scores = scores_and_labels()[0].requires_grad_()
    value = build_loss()(scores, torch.full((2, 16, 16), 255))
    assert torch.isfinite(value)
    value.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_loss_falls_for_better_scores(build_loss: Build) -> None:
    loss, (scores, labels) = build_loss(), scores_and_labels()
    truth = nn.functional.one_hot(labels.where(labels != 255, 0), CLASSES).movedim(-1, 1).float()
    assert loss(20 * truth - 10, labels) < loss(scores, labels) < loss(10 - 20 * truth, labels)


def test_loss_takes_scores_of_large_values(build_loss: Build) -> None:
    scores, labels = scores_and_labels()
    assert torch.isfinite(build_loss()(1e4 * scores, labels))
