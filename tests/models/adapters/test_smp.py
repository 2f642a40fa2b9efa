"""Nets of segmentation_models_pytorch."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

import segment
from segment.cli.build import build_net, without_weights
from segment.errors import SegmentError
from segment.models import SmpNet
from segment.models.adapters import smp
from segment.report import main as report
from segment.training.optim import parameter_groups

library = pytest.importorskip("segmentation_models_pytorch")

SIZES = [(2, 33, 65), (1, 375, 500), (2, 128, 128), (1, 128, 128)]
"""Number of images, height and width."""
VIT = "tu-vit_tiny_patch16_224"


def make(architecture: str = "FPN", encoder: str = "mobilenet_v2", **options) -> SmpNet:
    torch.manual_seed(0)
    return SmpNet(architecture, encoder, **{"num_classes": 5, "encoder_weights": None, **options}).eval()


def padded(image: torch.Tensor, multiple: int, minimum: int) -> torch.Tensor:
    """Pad an image right and bottom as the libraries need it."""
    height, width = (max(minimum, -(-side // multiple) * multiple) for side in image.shape[-2:])
    return F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))


RULES = {"Unet": (1, 1), "PSPNet": (8, 8), "DeepLabV3": (8, 8), "DeepLabV3Plus": (16, 16), "PAN": (16, 128)}
"""Multiple and minimum of the architectures with others than 32."""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", get_args(smp.Architecture))
@torch.no_grad()
def test_scores_are_those_of_the_library_on_the_padded_image(architecture):
    encoder = VIT if architecture == "DPT" else "mobilenet_v2"
    net = make(architecture, encoder)
    options = {"dynamic_img_size": True} if architecture == "DPT" else {}
    own = getattr(library, architecture)(encoder, encoder_weights=None, classes=5, **options).eval()
    own.load_state_dict(net.decoder.net.net.state_dict())
    for number, height, width in SIZES:
        image = torch.randn(number, 3, height, width)
        expected = own(padded(image, *RULES.get(architecture, (32, 32))))[..., :height, :width]
        torch.testing.assert_close(net(image), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_net_of_any_size_learns_and_has_two_learning_rates(tmp_path):
    state = library.encoders.get_encoder("mobilenet_v2", weights=None).state_dict()
    torch.save(state, tmp_path / "encoder.pth")
    net = make(encoder_weights=str(tmp_path / "encoder.pth"))
    assert all(torch.equal(value, net.decoder.net.net.encoder.state_dict()[key]) for key, value in state.items())
    groups = {group["name"]: group["lr"] for group in parameter_groups(net, 1.0, 0.0)}
    assert groups["encoder/weight"] == 0.05
    assert groups["decoder/weight"] == 1.0
    net.train()(torch.randn(2, 3, 33, 65)).sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_a_checkpoint_s_net_loads_no_weights():
    config = {"_target_": "segment.models.SmpNet", "architecture": "FPN", "encoder": "mobilenet_v2"}
    bare = without_weights({**config, "encoder_weights": "imagenet", "weights": "x.ckpt"})
    assert (bare["encoder_weights"], bare["weights"]) == (None, None)
    assert isinstance(build_net(bare, 3), SmpNet)


def test_the_normalisation_is_that_of_the_encoder_s_weights(tmp_path, monkeypatch, capsys):
    found = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_range": [0, 1], "input_space": "BGR"}
    monkeypatch.setattr(library.encoders, "get_preprocessing_params", lambda *_: found)
    half = {"mean": (127.5,) * 3, "std": (63.75,) * 3, "bgr": True}
    assert smp.encoder_normalization("mobilenet_v2", "imagenet")._asdict() == half
    assert smp.encoder_normalization(VIT, None).mean == (127.5, 127.5, 127.5)
    assert smp.encoder_normalization("mobilenet_v2", None).mean[0] == 123.675
    file = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    assert smp.encoder_normalization("mobilenet_v2", str(file)).mean[0] == 123.675
    assert "without smp's config.json beside it, and the normalisation is ImageNet's" in capsys.readouterr().out
    (tmp_path / "config.json").write_text(json.dumps({**found, "input_range": [0, 255], "mean": [104, 117, 124]}))
    assert smp.encoder_normalization("mobilenet_v2", str(file)).mean == (104.0, 117.0, 124.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet35"}, "model.encoder=resnet35: smp has no such encoder: did you mean resnet"),
        ({"encoder": "tu-hf-hub:x/y"}, "smp has no such encoder"),
        ({"architecture": "DPT", "encoder": "resnet34"}, "smp cannot build DPT with the encoder resnet34: Only Timm"),
        ({"encoder_weights": "ssl"}, "model.encoder_weights=ssl: smp has imagenet for mobilenet_v2, and there is no"),
        ({"encoder_weights": "."}, "is a folder, not a file"),
        ({"encoder_weights": ""}, "model.encoder_weights is empty: give model.encoder_weights=PATH"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(SegmentError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_or_cannot_be_downloaded(tmp_path, monkeypatch):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(SegmentError, match=r"x.pth does not fit smp's encoder mobilenet_v2: .* Missing key"):
        make(encoder_weights=str(tmp_path / "x.pth"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    way = r"use model.encoder_weights=FILE, such as model.safetensors of https://huggingface.co/smp-hub/mobilenet_v2.im"
    with pytest.raises(SegmentError, match=rf"could not get smp's weights imagenet .*: {way}.* or .*=null"):
        make(encoder_weights="imagenet")


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_the_whole_net_in_smp_s_layout_or_ours(tmp_path, capsys, wrapped):
    trained = make(num_classes=7)
    torch.save((trained if wrapped else trained.decoder.net.net).state_dict(), tmp_path / "whole.pth")
    net = make(weights=str(tmp_path / "whole.pth"))
    assert net.encoder.pretrained
    assert "left as they were: decoder.net.net.segmentation_head.0.weight" in capsys.readouterr().out


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(smp, "find_spec", lambda _: None)
    with pytest.raises(SegmentError, match=r"^model=smp needs .*: pip install 'segment-lightning\[smp\]'$"):
        make()


@pytest.mark.slow
def test_every_command_takes_such_a_net(main, tmp_path, capsys):
    """Train, evaluate, predict, report and load, with images that need padding."""
    overrides = ["model=smp", "model.architecture=FPN", "model.encoder=mobilenet_v2", "model.encoder_weights=null"]
    sizes = ["data.train_size=4", "data.val_size=2", "data.batch_size=2", "data.num_workers=0"]
    folder = main("train", *overrides, *sizes, "trainer.max_epochs=1")
    metadata = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["segment"]["model"]
    assert (metadata["architecture"], metadata["normalization"]["mean"][2]) == ("FPN", pytest.approx(103.53))
    main("evaluate", f"checkpoint={folder}", "data.num_workers=0")
    segmenter = segment.load(folder, "cpu")
    image = np.random.default_rng(0).integers(0, 256, (33, 65, 3), dtype=np.uint8)
    assert segmenter.predict(image).mask.shape == (33, 65)
    Image.fromarray(image).save(tmp_path / "a.png")
    main("predict", f"checkpoint={folder}", f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}")
    assert (tmp_path / "out" / "a.png").is_file()
    report([str(folder), "--output", str(tmp_path)])
    main("summary", "models=[smp]", "size=[64,96]")
    assert "smp" in capsys.readouterr().out
