"""Weights for whole nets: other projects' state dicts give their outputs, checkpoints fit in part or not at all."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.state_dicts import metadata_value
from tests.conftest import SMALL
from tests.models.conftest import are_close, build_net


@pytest.mark.slow
def test_vgg16s_classifier_becomes_convolutions(tmp_path, capsys):
    vgg = torchvision.models.vgg16(weights=None).eval()
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    net = build_net("model=fcn32s", "model.encoder.weights=null", f"model.weights={tmp_path / 'vgg16.pth'}")
    assert "left as they were: decoder.score.32.weight" in capsys.readouterr().out
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        deep = vgg.classifier[:6](vgg.features(image).flatten(1))
        ours = net.encoder(image)[32]
    assert torch.allclose(ours[0, :, 3, 3], deep[0], atol=1e-5)  # where fc6 sees all of the 7x7 map and no padding


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


@pytest.mark.slow
def test_milesials_unet(tmp_path):
    theirs = Milesial(2).eval()
    torch.save({**theirs.state_dict(), "mask_values": [0, 255]}, tmp_path / "unet.pth")
    ours = build_net("model=unet_milesial", f"model.weights={tmp_path / 'unet.pth'}", num_classes=2)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 31037698
    for size in ((33, 65), (31, 49), (64, 64)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert are_close(ours(image), theirs(image))
    with pytest.raises(SegmentError, match=r"the image is 15x20: this encoder needs 16 pixels or more"):
        ours(torch.rand(1, 3, 20, 15))


def checkpoint(tmp_path: Path, *overrides: str, classes: int) -> Path:
    net = build_net(*overrides, num_classes=classes)
    path = tmp_path / "own.ckpt"
    torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, path)
    return path


def test_another_class_count_keeps_all_but_the_scores(tmp_path, capsys):
    overrides = ("model=fcn_small", "model.encoder.width=4")
    path = checkpoint(tmp_path, *overrides, classes=6)
    net = build_net(*overrides, f"model.weights={path}", num_classes=3)
    assert net.encoder.pretrained
    report = capsys.readouterr().out
    left = ", ".join(f"decoder.score.{s}.{kind}" for s in (32, 16, 8, 4) for kind in ("weight", "bias"))
    assert f"left as they were: {left}\n" in report
    saved = torch.load(path)["state_dict"]
    assert all(torch.equal(v, saved[f"net.{k}"]) for k, v in net.state_dict().items() if k.startswith("encoder."))


@pytest.mark.slow
def test_a_runs_checkpoint_brings_its_normalization(main, capsys):
    """Without it the weights would see other pixel values than in training, and nobody would notice."""
    overrides = (*SMALL, "data.train_size=2", "data.val_size=1", "data.crop_size=[32,32]", "trainer.max_epochs=1")
    folder = main("train", *overrides, "model.normalization={mean:[9,8,7],std:[60,50,40],bgr:true}")
    small = (*SMALL[:2], f"model.weights={folder / 'checkpoints' / 'best.ckpt'}")
    capsys.readouterr()
    net = build_net(*small, num_classes=6)
    assert net.normalization == {"mean": [9, 8, 7], "std": [60, 50, 40], "bgr": True}
    assert "note" not in capsys.readouterr().out
    net = build_net(*small, "model.normalization=unit", num_classes=6)
    assert net.normalization == {"mean": [0] * 3, "std": [255] * 3, "bgr": False}
    assert "note: model.normalization differs from the one that " in capsys.readouterr().out


def test_weights_of_another_encoder_are_refused_by_name(tmp_path):
    path = checkpoint(tmp_path, "model=fcn_small", "model.encoder.width=4", classes=6)
    with pytest.raises(
        SegmentError,
        match=r"own.ckpt does not fit this net: tensors \d+ of another shape there \(encoder.stages.0.0.weight",
    ):
        build_net("model=fcn_small", "model.encoder.width=8", f"model.weights={path}", num_classes=6)
    shutil.copy(path, tmp_path / "broken.ckpt")
    (tmp_path / "broken.ckpt").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SegmentError, match="is damaged or cut off"):
        build_net("model=fcn_small", f"model.weights={tmp_path / 'broken.ckpt'}")


def test_metadata_may_be_missing_or_damaged():
    assert metadata_value({"segment": {"model": {"x": 3}}}, "model", "x") == 3
    for checkpoint in ({}, {"segment": 7}, {"segment": {"model": [1]}}):
        assert metadata_value(checkpoint, "model", "x") is None
