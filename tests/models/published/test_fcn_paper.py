"""The FCN papers' nets against an independent implementation, by the names of torchfcn's state dicts."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.decoders.fcn import bilinear_kernel
from segment.models.published.fcn_paper import PaperFCNDecoder
from tests.models.conftest import are_close, build_net

SKIPS: dict[str, list[tuple[str, int, int]]] = {
    "32s": [],
    "16s": [("pool4", 512, 5)],
    "8s": [("pool4", 512, 5), ("pool3", 256, 9)],
}
UPSCORES = {
    "32s": [("upscore", 32)],
    "16s": [("upscore2", 2), ("upscore16", 16)],
    "8s": [("upscore2", 2), ("upscore_pool4", 2), ("upscore8", 8)],
}
OFFSETS = {"32s": 19, "16s": 27, "8s": 31}


def torchfcn_state(kind: str, classes: int = 21) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(kind))
    state, inputs = {}, 3

    def layer(name: str, outputs: int, inputs: int, size: int) -> None:
        deviation = (2 / (inputs * size * size)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator) * deviation
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1

    for block, (count, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1):
        for number in range(1, count + 1):
            layer(f"conv{block}_{number}", outputs, inputs, 3)
            inputs = outputs
    layer("fc6", 4096, 512, 7)
    layer("fc7", 4096, 4096, 1)
    layer("score_fr", classes, 4096, 1)
    for name, channels, _ in SKIPS[kind]:
        layer(f"score_{name}", classes, channels, 1)
    for name, factor in UPSCORES[kind]:
        noise = torch.randn(classes, classes, 2 * factor, 2 * factor, generator=generator) * 0.01
        state[f"{name}.weight"] = bilinear_kernel(classes, factor) + noise
    return state


def torchfcn_forward(state: dict[str, Tensor], kind: str, image: Tensor, scales: tuple[float, ...] = (1, 1)) -> Tensor:
    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    x, pools = image, {}
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, count + 1):
            x = conv(f"conv{block}_{number}", x, 100 if (block, number) == (1, 1) else 1).relu()
        x = pools[f"pool{block}"] = F.max_pool2d(x, 2, ceil_mode=True)
    x = conv("score_fr", conv("fc7", conv("fc6", x).relu()).relu())
    for (up, factor), (pool, _, crop), scale in zip(UPSCORES[kind], SKIPS[kind], scales, strict=False):
        x = F.conv_transpose2d(x, state[f"{up}.weight"], stride=factor)
        skip = conv(f"score_{pool}", pools[pool] * scale)
        x = x + skip[:, :, crop : crop + x.shape[2], crop : crop + x.shape[3]]
    up, factor = UPSCORES[kind][-1]
    x, first = F.conv_transpose2d(x, state[f"{up}.weight"], stride=factor), OFFSETS[kind]
    return x[:, :, first : first + image.shape[2], first : first + image.shape[3]]


@pytest.mark.parametrize(("at_once", "scales"), [(False, {}), (True, {16: 0.01, 8: 0.0001})])
def test_fixed_crops_align_the_scores(at_once, scales):
    """The features are those of a small image that is padded by 100 pixels."""
    torch.manual_seed(0)
    decoder = PaperFCNDecoder({8: 2, 16: 3, 32: 4}, 5, [8, 16], at_once=at_once)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    features = {8: torch.randn(1, 2, 33, 29), 16: torch.randn(1, 3, 17, 15), 32: torch.randn(1, 4, 3, 2)}
    score = {stride: decoder.score[str(stride)](f * scales.get(stride, 1)) for stride, f in features.items()}
    up = {name: layer.weight for name, layer in decoder.up.items()}
    at16 = F.conv_transpose2d(score[32], up["32to16"], stride=2) + score[16][..., 5:13, 5:11]
    at8 = F.conv_transpose2d(at16, up["16to8"], stride=2) + score[8][..., 9:27, 9:23]
    torch.testing.assert_close(decoder(features), F.conv_transpose2d(at8, up["8to1"], stride=8))


def test_upsampling_is_trained_if_configured():
    channels = {8: 2, 16: 3, 32: 4}
    for learn in (False, True):
        decoder = PaperFCNDecoder(channels, 5, [16], learn_upsampling=learn)
        assert {p.requires_grad for p in decoder.up.parameters()} == {learn}
    with pytest.raises(SegmentError, match=r"model.decoder.skip_strides=\[8\]: the paper's are \[\], \[16\] and"):
        PaperFCNDecoder(channels, 5, [8])


@pytest.mark.slow  # three nets of half a gigabyte
@pytest.mark.parametrize("kind", ["32s", "16s", "8s", "8s_atonce"])
def test_torchfcns_weights_give_its_outputs(tmp_path, kind):
    base, at_once = kind.partition("_")[0], "atonce" in kind
    state = torchfcn_state(base)
    torch.save(state, tmp_path / "fcn.pth")
    net = build_net(f"model=fcn{kind}_paper", f"model.weights={tmp_path / 'fcn.pth'}")
    assert sum(p.numel() for p in net.parameters()) == {"32s": 136152917, "16s": 134815994, "8s": 134489759}[base]
    for size in ((91, 57), (64, 128), (1, 1)):
        image = torch.randn(2, 3, *size) * 50
        with torch.no_grad():
            theirs = torchfcn_forward(state, base, image, (0.01, 0.0001) if at_once else (1, 1))
            assert are_close(net(image), theirs)
    assert [p.requires_grad for n, p in net.named_parameters() if ".up." in n] == [False] * len(UPSCORES[base])


@pytest.mark.slow
def test_a_finer_net_starts_from_a_coarser_one(tmp_path, capsys):
    """FCN-16s with the weights of FCN-32s gives nearly the same output, since the new skip starts at zero."""
    torch.save(torchfcn_state("32s"), tmp_path / "fcn.pth")
    coarse = build_net("model=fcn32s_paper", f"model.weights={tmp_path / 'fcn.pth'}")
    for layer in coarse.decoder.up.values():
        layer.weight.data.copy_(bilinear_kernel(21, layer.stride[0]))
    torch.save({"state_dict": {f"net.{k}": v for k, v in coarse.state_dict().items()}}, tmp_path / "stage.ckpt")
    capsys.readouterr()
    fine = build_net("model=fcn16s_paper", f"model.weights={tmp_path / 'stage.ckpt'}")
    report = capsys.readouterr().out
    assert "left as they were: decoder.score.16.weight, decoder.score.16.bias, decoder.up.32to16.weight" in report
    assert "not used: decoder.up.32to1.weight" in report
    image = torch.randn(1, 3, 200, 300)
    with torch.no_grad():
        a, b = coarse(image)[..., 40:-40, 40:-40], fine(image)[..., 40:-40, 40:-40]
    assert (a - b).abs().mean() < 0.1 * a.std()
