"""Published nets and their weights: the outputs of independent references, and errors by name."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.models.decoders.fcn import bilinear_kernel
from segment.models.published.unet_paper import PaperUNet, PaperUNetDecoder, PaperUNetEncoder, mirrored
from tests.conftest import SMALL


def build(*words: str, num_classes: int = 21) -> nn.Module:
    return instantiate(load_config([*words]).model, num_classes=num_classes).eval()


def same(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() < 1e-4 * theirs.abs().max())


# The FCN papers' nets, by the names that torchfcn's state dicts have


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


@pytest.mark.slow  # three nets of half a gigabyte
@pytest.mark.parametrize("kind", ["32s", "16s", "8s", "8s_atonce"])
def test_torchfcns_weights_give_its_outputs(tmp_path, kind):
    base, at_once = kind.partition("_")[0], "atonce" in kind
    state = torchfcn_state(base)
    torch.save(state, tmp_path / "fcn.pth")
    net = build(f"model=fcn{kind}_paper", f"model.weights={tmp_path / 'fcn.pth'}")
    assert sum(p.numel() for p in net.parameters()) == {"32s": 136152917, "16s": 134815994, "8s": 134489759}[base]
    for size in ((91, 57), (64, 128), (1, 1)):
        image = torch.randn(2, 3, *size) * 50
        with torch.no_grad():
            theirs = torchfcn_forward(state, base, image, (0.01, 0.0001) if at_once else (1, 1))
            assert same(net(image), theirs)
    assert [p.requires_grad for n, p in net.named_parameters() if ".up." in n] == [False] * len(UPSCORES[base])


@pytest.mark.slow
def test_stages_hand_their_weights_on(tmp_path, capsys):
    """32s into 16s: the new skip is at zero, and so the output is nearly what it was."""
    torch.save(torchfcn_state("32s"), tmp_path / "fcn.pth")
    coarse = build("model=fcn32s_paper", f"model.weights={tmp_path / 'fcn.pth'}")
    for layer in coarse.decoder.up.values():
        layer.weight.data.copy_(bilinear_kernel(21, layer.stride[0]))
    torch.save({"state_dict": {f"net.{k}": v for k, v in coarse.state_dict().items()}}, tmp_path / "stage.ckpt")
    capsys.readouterr()
    fine = build("model=fcn16s_paper", f"model.weights={tmp_path / 'stage.ckpt'}")
    report = capsys.readouterr().out
    assert "left as they were: decoder.score.16.weight, decoder.score.16.bias, decoder.up.32to16.weight" in report
    assert "not used: decoder.up.32to1.weight" in report
    image = torch.randn(1, 3, 200, 300)
    with torch.no_grad():
        a, b = coarse(image)[..., 40:-40, 40:-40], fine(image)[..., 40:-40, 40:-40]
    assert (a - b).abs().mean() < 0.1 * a.std()


# torchvision's, and VGG16's classifier


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 101])
def test_torchvisions_fcn_resnet(tmp_path, depth, capsys):
    build_theirs = getattr(torchvision.models.segmentation, f"fcn_resnet{depth}")
    theirs = build_theirs(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "fcn.pth")
    ours = build(f"model=fcn_resnet{depth}", "model.encoder.weights=null", f"model.weights={tmp_path / 'fcn.pth'}")
    assert "not used: aux_classifier.0.weight" in capsys.readouterr().out
    for size in ((65, 97), (64, 64), (33, 1)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert same(ours(image), theirs(image)["out"])
    picture = torch.randint(0, 256, (1, 3, 65, 97), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(ours.predict(picture), theirs(ours.normalize(picture))["out"].argmax(1))


@pytest.mark.slow
def test_vgg16s_classifier_becomes_convolutions(tmp_path, capsys):
    vgg = torchvision.models.vgg16(weights=None).eval()
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    net = build("model=fcn32s", "model.encoder.weights=null", f"model.weights={tmp_path / 'vgg16.pth'}")
    assert "left as they were: decoder.score.32.weight" in capsys.readouterr().out
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        deep = vgg.classifier[:6](vgg.features(image).flatten(1))
        ours = net.encoder(image)[32]
    assert torch.allclose(ours[0, :, 3, 3], deep[0], atol=1e-5)  # where fc6 sees all of the 7x7 map and no padding


# milesial's U-Net


class Double(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)


class Milesial(nn.Module):
    """A U-Net with the names and the arithmetic of Pytorch-UNet's, written for this test."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.inc = Double(3, 64)
        for i in range(1, 5):
            down, up = nn.Module(), nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(32 * 2**i, 64 * 2**i))
            up.up = nn.ConvTranspose2d(2048 // 2**i, 1024 // 2**i, 2, stride=2)
            up.conv = Double(2048 // 2**i, 1024 // 2**i)
            self.add_module(f"down{i}", down)
            self.add_module(f"up{i}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(64, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.inc.double_conv(x)]
        for i in range(1, 5):
            pool, double = getattr(self, f"down{i}").maxpool_conv
            levels.append(double.double_conv(pool(levels[-1])))
        x = levels.pop()
        for i in range(1, 5):
            up, skip = getattr(self, f"up{i}"), levels.pop()
            x = up.up(x)
            dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = up.conv.double_conv(torch.cat([skip, x], dim=1))
        return self.outc.conv(x)


def test_milesials_unet(tmp_path):
    theirs = Milesial(2).eval()
    torch.save({**theirs.state_dict(), "mask_values": [0, 255]}, tmp_path / "unet.pth")
    ours = build("model=unet_milesial", f"model.weights={tmp_path / 'unet.pth'}", num_classes=2)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 31037698
    for size in ((33, 65), (31, 49), (64, 64)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert same(ours(image), theirs(image))
    with pytest.raises(SegmentError, match=r"the image is 15x20, this encoder wants 16 pixels at least"):
        ours(torch.rand(1, 3, 20, 15))


# The paper's U-Net


def small_paper_unet(tile: int = 384) -> PaperUNet:
    torch.manual_seed(0)
    return PaperUNet(PaperUNetEncoder(width=4), PaperUNetDecoder, num_classes=3, tile=tile).eval()


def test_unet_papers_core_maps_572_to_388():
    net = small_paper_unet()
    with torch.no_grad():
        assert net.core(torch.rand(1, 3, 572, 572)).shape == (1, 3, 388, 388)
        assert net.core(torch.rand(1, 3, 188, 204)).shape == (1, 3, 4, 20)


def test_tiles_fit_together_and_borders_are_mirrored():
    net, tiled = small_paper_unet(), small_paper_unet(tile=48)
    image = torch.rand(1, 3, 100, 150)
    with torch.no_grad():
        whole = net(image)
        assert whole.shape == (1, 3, 100, 150)
        assert torch.allclose(tiled(image), whole, atol=1e-5)
        rows, columns = F.pad(torch.arange(100.0)[None, None], (92, 92), "reflect"), mirrored(-92, 192, 100)
        assert torch.equal(rows[0, 0].long(), columns)
    for size in ((1, 1), (33, 65)):
        assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_unet_papers_size():
    """Twenty-three convolutional layers with 31.0M parameters, as the caffe release of the authors has."""
    net = build("model=unet_paper", num_classes=2)
    assert sum(p.numel() for p in net.parameters()) == 31031810
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in net.modules()) == 23


# Weights that fit in part, or not at all


def checkpoint(tmp_path: Path, *words: str, classes: int) -> Path:
    net = build(*words, num_classes=classes)
    path = tmp_path / "own.ckpt"
    torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, path)
    return path


def test_another_class_count_keeps_all_but_the_scores(tmp_path, capsys):
    words = ("model=fcn_small", "model.encoder.width=4")
    path = checkpoint(tmp_path, *words, classes=6)
    net = build(*words, f"model.weights={path}", num_classes=3)
    assert net.encoder.pretrained
    report = capsys.readouterr().out
    left = ", ".join(f"decoder.score.{s}.{kind}" for s in (32, 16, 8, 4) for kind in ("weight", "bias"))
    assert f"left as they were: {left}\n" in report
    saved = torch.load(path)["state_dict"]
    assert all(torch.equal(v, saved[f"net.{k}"]) for k, v in net.state_dict().items() if k.startswith("encoder."))


def test_a_runs_checkpoint_brings_its_normalization(main, capsys):
    """Or its weights would see other pixels than those that they were trained on, without a word."""
    words = (*SMALL, "data.train_size=2", "data.val_size=1", "data.crop_size=[32,32]", "trainer.max_epochs=1")
    folder = main("train", *words, "model.normalization={mean:[9,8,7],deviation:[60,50,40],bgr:true}")
    small = (*SMALL[:2], f"model.weights={folder / 'checkpoints' / 'best.ckpt'}")
    capsys.readouterr()
    net = build(*small, num_classes=6)
    assert net.normalization == {"mean": [9, 8, 7], "deviation": [60, 50, 40], "bgr": True}
    assert "note" not in capsys.readouterr().out
    net = build(*small, "model.normalization=unit", num_classes=6)
    assert net.normalization == {"mean": [0] * 3, "deviation": [255] * 3, "bgr": False}
    assert "note: model.normalization is not as it was for the net of " in capsys.readouterr().out


def test_weights_of_another_encoder_are_refused_by_name(tmp_path):
    path = checkpoint(tmp_path, "model=fcn_small", "model.encoder.width=4", classes=6)
    with pytest.raises(
        SegmentError,
        match=r"own.ckpt does not fit this net: tensors \d+ of another shape there \(encoder.stages.0.0.weight",
    ):
        build("model=fcn_small", "model.encoder.width=8", f"model.weights={path}", num_classes=6)
    shutil.copy(path, tmp_path / "broken.ckpt")
    (tmp_path / "broken.ckpt").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SegmentError, match="is not a file of weights"):
        build("model=fcn_small", f"model.weights={tmp_path / 'broken.ckpt'}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=fcn8s_paper", "model/encoder=unet_small", "model.decoder.skip_strides=[]"],
            "the decoder wants of the FCN papers ones",
        ),
        (["model=unet_paper", "model/encoder=unet_small"], "goes with model/encoder=unet_paper alone"),
        (["model=unet_paper", "model.tile=100"], r"model.tile=100: expected a multiple of 16"),
        (["model=unet_paper", "model.encoder.weights=x"], "use model.weights=FILE"),
        (["model=unet", "model.decoder.upsampling=nearest"], "expected transposed or bilinear"),
        (["model=unet", "model.decoder.norm=layer", "model.encoder.width=4"], "expected batch or group"),
    ],
)
def test_nets_that_cannot_be(words, message):
    with pytest.raises(SegmentError, match=message):
        build(*words)
