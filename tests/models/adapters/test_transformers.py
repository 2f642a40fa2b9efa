"""Nets of the library transformers."""

import json
import socket

import pytest
import torch
from torch.nn import functional as F

from segment.cli.build import build_net, without_weights
from segment.errors import SegmentError
from segment.models import TransformersNet
from segment.models.adapters import transformers
from tests.models.adapters.test_smp import SIZES, padded

library = pytest.importorskip("transformers")

SEGFORMER = {
    "model_type": "segformer", "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4],
    "depths": [1, 1, 1, 1], "decoder_hidden_size": 16,
}  # fmt: skip
STAGES = ["stage1", "stage2", "stage3", "stage4"]
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "out_features": STAGES}
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "out_features": STAGES}
VIT = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 64,
    "patch_size": 16,
}  # fmt: skip
CONFIGS = {
    "segformer": SEGFORMER,
    "upernet": {"model_type": "upernet", "hidden_size": 16, "backbone_config": CONVNEXT},
    "upernet_swin": {"model_type": "upernet", "hidden_size": 16, "backbone_config": SWIN},
    "mobilevit": {
        "model_type": "mobilevit", "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64],
        "num_attention_heads": 2, "aspp_out_channels": 16,
    },
    "mobilevitv2": {"model_type": "mobilevitv2", "width_multiplier": 0.5, "aspp_out_channels": 16},
    "mobilenet_v2": {"model_type": "mobilenet_v2", "depth_multiplier": 0.25},
    "beit": {"model_type": "beit", **VIT, "out_indices": [1, 2, 3, 4]},
}  # fmt: skip
"""Small nets of every kind that takes images of any size."""


def make(kind: str = "segformer", **options) -> TransformersNet:
    torch.manual_seed(0)
    return TransformersNet(**{"num_classes": 5, "config": CONFIGS[kind], **options}).eval()


@pytest.fixture
def folder(tmp_path):
    """Save a SegFormer for 7 classes as the library does."""
    config = library.AutoConfig.for_model(**SEGFORMER, num_labels=7)
    library.AutoModelForSemanticSegmentation.from_config(config).save_pretrained(tmp_path / "José's net")
    return tmp_path / "José's net"


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
@torch.no_grad()
def test_scores_are_those_of_the_library_on_the_padded_image(kind):
    net = make(kind)
    own, minimum = net.decoder.net.net, {"mobilevitv2": 64}.get(kind, 32)
    for number, height, width in SIZES:
        image = torch.randn(number, 3, height, width)
        given = padded(image, 32, minimum)
        logits = own(pixel_values=given).logits
        expected = F.interpolate(logits, given.shape[-2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(net(image), expected[..., :height, :width], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["segformer", *(pytest.param(k, marks=pytest.mark.slow) for k in [*CONFIGS][1:])])
def test_a_checkpoint_has_the_whole_configuration_and_needs_no_network(kind, monkeypatch):
    net = make(kind)
    written = {"_target_": "segment.models.TransformersNet", "name": "nvidia/mit-b0", "config": None, **net.settings()}
    assert written["name"] is None
    assert json.loads(json.dumps(written)) == written
    monkeypatch.setattr(socket, "socket", None)
    again = build_net(without_weights(written), 5).eval()
    again.load_state_dict(net.state_dict())
    image = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))
    net.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_a_stranger_s_checkpoint_names_no_folder():
    config = {"_target_": "segment.models.TransformersNet", "name": "evil/net"}
    with pytest.raises(SegmentError, match=r"give either model.name=FOLDER_OR_NAME, or model.config"):
        build_net(without_weights(config), 5)


@pytest.mark.slow
def test_a_folder_gives_weights_head_and_normalisation(folder, capsys):
    net = make(config=None, name=str(folder), num_classes=7)
    printed = capsys.readouterr()
    assert printed.out == f"note: {folder} has no preprocessor_config.json: the normalisation is ImageNet's\n"
    own = library.AutoModelForSemanticSegmentation.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, own[key]) for key, value in net.decoder.net.net.state_dict().items())
    settings = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": None, "do_flip_channel_order": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    capsys.readouterr()
    net = make(config=None, name=str(folder))
    assert net.normalization == {"mean": [0.0] * 3, "std": [255.0] * 3, "bgr": True}
    assert capsys.readouterr().out == (
        f"weights: {folder}; a new head for 5 classes in place of 7: 2 tensors "
        "(decode_head.classifier.bias, decode_head.classifier.weight)\n"
    )


def test_a_damaged_normalisation_is_not_missing(folder):
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5')
    with pytest.raises(
        SegmentError, match=r"cannot be loaded \(.*preprocessor_config.json' is not a valid JSON"
    ) as error:
        make(config=None, name=str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mask2former"}, "model.config.model_type=mask2former: expected one of beit, data2vec-vision"),
        ({"model_type": ["x"]}, "expected one of beit"),
        ({}, "model.config.model_type=None: expected one of"),
        ({"model_type": "segformer", "hiden_sizes": [1]}, "model.config.hiden_sizes: .*: did you mean hidden_sizes?"),
        ({"model_type": "segformer", "auto_map": {"AutoModel": "x.py"}}, "segformer has no such key"),
        ({"model_type": "segformer", "attn_implementation": "evil/kernel"}, "segformer has no such key"),
        (
            {"model_type": "segformer", "depths": [10**8] * 4},
            "model.config: its whole numbers add up to more than 1,000,000, too large a net",
        ),
        ({"model_type": "segformer", "depths": 3}, "model.config: segformer: .*depths"),
        ({"model_type": "upernet", "backbone": "evil/net"}, "no such key: did you mean backbone_config?"),
        (
            {"model_type": "upernet", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18"}},
            "model.config.backbone_config.model_type=timm_backbone: expected one of beit",
        ),
        (
            {"model_type": "data2vec-vision", **VIT, "out_indices": [1, 2, 3, 4]},
            "transformers' data2vec-vision fails at all sizes of images that were tried: ",
        ),
    ],
)
def test_mistakes_are_one_line(config, message):
    with pytest.raises(SegmentError, match=message) as error:
        make(config=config)
    assert "\n" not in str(error.value)


def test_folders_that_are_no_net(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SegmentError, match=r"^model.name=no/such cannot be loaded \(.*: give a folder that save_pre"):
        make(config=None, name="no/such")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"vocab_size": content["depths"][0], "model_type": "bert"}))
    with pytest.raises(SegmentError, match="is a bert: expected one of beit"):
        make(config=None, name=str(folder))


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(transformers, "find_spec", lambda _: None)
    with pytest.raises(SegmentError, match=r"^model=transformers needs transformers: pip install 'segment-lightning"):
        make()
