"""Contracts over every encoder and decoder, and the numbers inside them."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from segment.cli.build import instantiate
from segment.cli.config import CONF_DIR, load_config
from segment.errors import SegmentError
from segment.models.class_map import class_map
from segment.models.decoders.fcn import FCNDecoder, bilinear_kernel, upsample
from segment.models.decoders.unet import UNetDecoder
from segment.models.encoders.mobilenet import MobileNetV2Encoder
from segment.models.encoders.resnet import ResNetEncoder
from segment.models.encoders.timm_encoder import TimmEncoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.encoders.vgg import VGGEncoder, VGGFullyConvolutional
from segment.models.net import SegmentationNet
from segment.models.published.fcn_resnet import FCNHead
from tests.conftest import SHARED, needs_shared

ENCODERS = sorted(path.stem for path in Path(CONF_DIR, "model", "encoder").glob("*.yaml") if "paper" not in path.stem)
QUICK = {"mobilenet_v2", "resnet18", "timm", "unet_small"}
DECODERS = {
    "fcn": partial(FCNDecoder, skip_strides=[8, 4]),
    "fcn_transposed": partial(FCNDecoder, skip_strides=[8, 4], upsampling="transposed"),
    "fcn_head": FCNHead,
    "unet": UNetDecoder,
    "unet_transposed": partial(UNetDecoder, upsampling="transposed", norm="group"),
}


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ENCODERS]
)
def encoder(request):
    config = load_config([f"model/encoder={request.param}", "model.encoder.weights=null"]).model.encoder
    return instantiate(config)


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
        pytest.skip("they do not go together")
    net = SegmentationNet(encoder, DECODERS[decoder], num_classes=5)
    for parameter in net.decoder.score.parameters():
        torch.nn.init.normal_(parameter)
    net.eval()
    for height, width in ((1, 1), (33, 65), (75, 50)):
        if min(height, width) < encoder.minimum:
            with pytest.raises(SegmentError, match="this encoder wants 16 pixels at least"):
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
    encoder.zero_grad(set_to_none=True)


def test_from_scratch_the_signal_lives(encoder):
    """At torch's default a VGG16 gives every image the same pool5."""
    encoder.train()
    with torch.no_grad():
        deepest = encoder(torch.randn(2, 3, 128, 128))[max(encoder.channels)]
    assert (deepest[0] - deepest[1]).abs().mean() > 0.01 * deepest.abs().mean() > 0


# Weights in torchvision's published layouts


@pytest.mark.parametrize(
    ("build", "name", "features"),
    [
        (partial(ResNetEncoder, "resnet18"), "resnet18", lambda m, x: nn.Sequential(*list(m.children())[:-2])(x)),
        (MobileNetV2Encoder, "mobilenet_v2", lambda m, x: m.features(x)),
        (partial(VGGEncoder, "vgg11"), "vgg11", lambda m, x: m.features(x)),
    ],
)
def test_a_local_file_gives_torchvisions_features(tmp_path, build, name, features):
    model = torchvision.models.get_model(name, weights=None).eval()
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    torch.save(state, tmp_path / "weights.pth")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(build(weights=tmp_path / "weights.pth").eval()(image)[32], features(model, image))


@pytest.mark.slow
def test_vgg16s_classifier_becomes_convolutions(tmp_path):
    """fc6 and fc7 at the one place where their window lies wholly inside equal the classifier's."""
    model = torchvision.models.vgg16(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "vgg16.pth")
    encoder = VGGFullyConvolutional(weights=str(tmp_path / "vgg16.pth")).eval()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = model.classifier[:5](model.features(image).flatten(1))
        torch.testing.assert_close(encoder(image)[32][:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)


@needs_shared
def test_published_mobilenet_weights_load():
    encoder = MobileNetV2Encoder(str(SHARED / "weights" / "mobilenet_v2-b0353104.pth"))
    assert encoder.channels[32] == 1280


def test_timm_takes_a_local_file(tmp_path):
    import timm

    model = timm.create_model("mobilenetv3_small_050", pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    encoder = TimmEncoder("mobilenetv3_small_050", str(tmp_path / "w.pth")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(encoder(image)[32], expected)


def test_weights_that_do_not_fit_are_named(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(SegmentError, match=r"r18.pth does not fit MobileNetV2: keys \d+ missing \(features"):
        MobileNetV2Encoder(str(tmp_path / "r18.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(SegmentError, match=r"text.pth is not a file of weights"):
        ResNetEncoder("resnet18", str(tmp_path / "text.pth"))
    with pytest.raises(SegmentError, match=r"none.pth does not exist"):
        ResNetEncoder("resnet18", str(tmp_path / "none.pth"))
    with pytest.raises(SegmentError, match=r"v.pth does not fit ResNet: keys 100 missing"):
        TimmEncoder("resnet18", str(_save(tmp_path / "v.pth", {"a": torch.zeros(1)})))


def _save(path: Path, state: dict) -> Path:
    torch.save(state, path)
    return path


def test_wrong_choices_are_named():
    with pytest.raises(SegmentError, match=r"no feature at stride 64; this encoder has 32, 16, 8, 4, 2"):
        FCNDecoder(MobileNetV2Encoder(None).channels, 5, skip_strides=[64])
    with pytest.raises(SegmentError, match=r"timm has no network 'resnet1'; close ones"):
        TimmEncoder("resnet1", None)
    with pytest.raises(SegmentError, match=r"no ImageNet weights"):
        UNetEncoder(weights="imagenet")
    with pytest.raises(SegmentError, match=r"expected a ResNet of torchvision"):
        ResNetEncoder("vgg11", None)
    with pytest.raises(SegmentError, match=r"model.normalization=rgb: expected imagenet, caffe, unit, null, or "):
        SegmentationNet(MobileNetV2Encoder(None), UNetDecoder, 5, "rgb")


# Numbers


def test_skips_fuse_as_in_the_paper():
    """FCN-8s from FCN-32s: each new skip adds its score to the enlarged scores of what is coarser."""
    torch.manual_seed(0)
    decoder = FCNDecoder({8: 3, 16: 4, 32: 5}, 2, [16, 8])
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    features = {8: torch.randn(1, 3, 7, 9), 16: torch.randn(1, 4, 4, 5), 32: torch.randn(1, 5, 2, 3)}
    score = {stride: decoder.score[str(stride)](feature) for stride, feature in features.items()}
    at16 = F.interpolate(score[32], scale_factor=2, mode="bilinear")[..., :4, :5] + score[16]
    expected = F.interpolate(at16, scale_factor=2, mode="bilinear")[..., :7, :9] + score[8]
    torch.testing.assert_close(decoder(features), expected)


def test_skips_start_from_zero():
    assert not FCNDecoder({16: 4, 32: 5}, 2, [16])({16: torch.randn(1, 4, 2, 2), 32: torch.randn(1, 5, 1, 1)}).any()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_transposed_convolution_starts_bilinear(factor):
    scores = torch.randn(1, 3, 6, 7)
    kernel = bilinear_kernel(3, factor)
    found = F.conv_transpose2d(scores, kernel, stride=factor, padding=factor // 2)
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # borders: zeros here, repeated there
    torch.testing.assert_close(found[inside], upsample(scores, factor)[inside])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(5, 6), (1, 1), (1, 9), (40, 30)])
def test_class_map_is_the_argmax_of_the_enlarged_scores(size, layout):
    """Also of ties, which whole numbers have plenty of; segments of all sizes."""
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
        stretched = F.interpolate(scores, wanted, mode="bilinear", align_corners=False)
        assert (class_map(scores, *wanted) != stretched.argmax(1)).sum() <= 1  # rounding may decide where two meet


def test_normalizations():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    encoder = MobileNetV2Encoder(None)
    caffe = SegmentationNet(encoder, UNetDecoder, 2, "caffe").normalize(image)
    expected = torch.tensor([30 - 104.00698793, 20 - 116.66876762, 10 - 122.67891434])
    torch.testing.assert_close(caffe.flatten(), expected)
    imagenet = SegmentationNet(encoder, UNetDecoder, 2).normalize(image)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(imagenet.flatten(), (torch.tensor([10, 20, 30]) / 255 - mean) / deviation)
    for name, wanted in (("mobilenetv3_small_050", imagenet), ("mobilenetv4_conv_small_050", image / 127.5 - 1)):
        net = SegmentationNet(TimmEncoder(name, None), UNetDecoder, 2)
        torch.testing.assert_close(net.normalize(image), wanted)
        again = SegmentationNet(encoder, UNetDecoder, 2, net.normalization)
        torch.testing.assert_close(again.normalize(image), wanted)
    good = {"mean": [1, 2, 3], "deviation": [4, 5, 6]}
    short, zero, small = {"mean": [1, 2], "deviation": [1, 1]}, {**good, "deviation": [0] * 3}, {"deviation": [0.2] * 3}
    for wrong in ({"mean": [1, 2, 3]}, short, zero, {**good, **small}, {**good, "rgb": True}):
        with pytest.raises(SegmentError, match=r"expected imagenet, .*mean: \[R,G,B\]"):
            SegmentationNet(encoder, UNetDecoder, 2, wrong)
