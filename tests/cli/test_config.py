"""Every shipped YAML is composed and built."""

import gc
from itertools import pairwise
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from segment.cli.build import instantiate
from segment.cli.config import CONF_DIR, fast_composition, group_options, load_config, plain
from segment.errors import SegmentError
from segment.models.net import SegmentationNet

MISMATCH = r"no feature at stride|needs an encoder with layout|the paper's are"


def build(overrides: list[str]):
    """Build the parts of a training; the net on torch's meta device, since a VGG16 has 134 million parameters."""
    config = load_config([*overrides, "model.encoder.weights=null", "model.weights=null"])
    with torch.device("meta"):
        net = instantiate(config.model, num_classes=7)
    assert isinstance(net, SegmentationNet)
    optimizer = instantiate(config.optimizer)(net)
    steps = () if config.scheduler._target_.endswith(".constant") else (100,)
    assert instantiate(config.scheduler)(optimizer, *steps).get_last_lr()
    assert instantiate(config.loss)(torch.zeros(1, 7, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)) > 0
    return config, net


@pytest.mark.parametrize("name", group_options("."))
def test_every_command_s_configuration_composes(name):
    assert load_config([], name)


EVERYDAY = {"mobilenet_v2", "vgg16_fc_paper", "fcn8s"}
"""Encoders and models whose combinations are everyday tests."""


def options(group: str) -> list:
    """Return the options of a group; most of them for slow tests alone."""
    return [pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.slow) for name in group_options(group)]


KINDS = ["fcn32s", "fcn8s", "fcn8s_paper", "fcn_resnet50", "deeplabv3_resnet50", "unet", "unet_paper", "segnet"]
"""A model of each kind of decoder; the others differ from one of these in strides or in the encoder alone."""


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("encoder", options("model/encoder"))
def test_every_model_with_every_encoder(model, encoder):
    overrides = [f"model={model}", f"model/encoder={encoder}"]
    paper = next((kind for kind in ("fcn", "unet") if kind in model and model.endswith("_paper")), None)
    kind = "segnet" if model.startswith("segnet") else paper
    own = {"vgg16_fc_paper": "fcn", "unet_paper": "unet", "segnet": "segnet", "segnet_small": "segnet"}
    fits = own.get(encoder) == kind
    lacks_stride = encoder in {"resnet50_dilated", "resnet101_dilated"} and model == "fcn8s"
    if not fits or lacks_stride or (encoder == "unet_milesial" and "unet" not in model):
        with pytest.raises(SegmentError, match=MISMATCH):
            build(overrides)
        return
    _, net = build(overrides)
    with torch.device("meta"):
        assert net.eval()(torch.randn(1, 3, 50, 70)).shape == (1, 7, 50, 70)


@pytest.mark.parametrize("experiment", group_options("experiment"))
@pytest.mark.parametrize("model", [option for option in options("model") if set(option.values) & {*KINDS}])
def test_every_experiment_with_every_model(experiment, model):
    overrides = [f"experiment={experiment}", f"model={model}"]
    if ("paper" in model or "segnet" in model) and "mobilenet" in experiment:  # decoders for an encoder of their own
        with pytest.raises(SegmentError, match=MISMATCH):
            build(overrides)
        return
    config, _ = build(overrides)
    assert config.data._target_.startswith("segment.data.")


@pytest.mark.parametrize("experiment", ["camvid", "voc"])
@pytest.mark.parametrize("model", ["smp", "transformers"])
def test_an_experiment_for_nets_that_bring_their_own_encoder(experiment, model):
    config = load_config([f"experiment={experiment}", f"model={model}"])
    own = load_config([f"model={model}"])
    assert config.model == own.model
    assert config.data._target_ != own.data._target_


@pytest.mark.parametrize("experiment", group_options("experiment"))
def test_every_experiment_begins_with_its_command_cost_and_expected_score(experiment):
    path = Path(CONF_DIR, "experiment", f"{experiment}.yaml")
    head = path.read_text().partition("defaults:")[0]
    assert f"experiment={experiment}" in head
    assert "# cost " in head
    assert "# expected " in head
    assert "decoder" not in OmegaConf.load(path).get("model", {})


def test_each_stage_of_the_fcn_authors_starts_from_the_previous_one():
    with hydra.initialize_config_dir(CONF_DIR, version_base="1.3"):
        stages = [
            hydra.compose("train", overrides=[f"experiment=voc_fcn{net}_heavy"], return_hydra_config=True)
            for net in ("32s", "16s", "8s")
        ]
    assert stages[0].model.weights is None
    for before, after in pairwise(stages):
        assert Path(after.model.weights) == Path(before.hydra.run.dir, "checkpoints", "best.ckpt")


@pytest.mark.parametrize(
    ("group", "option"),
    [(g, o) for g in ("optimizer", "scheduler", "loss", "trainer", "callbacks") for o in group_options(g)],
)
def test_every_option_of_a_training(group, option):
    config, _ = build([f"{group}={option}"])
    instantiate(
        config.trainer,
        accelerator="cpu",
        callbacks=list(instantiate(config.callbacks).values()),
        logger=False,
        enable_checkpointing=True,
    )


@pytest.mark.parametrize("data", group_options("data"))
def test_every_data_set(data, tmp_path):
    root = [] if data == "shapes" else [f"data.root={tmp_path}"]
    config = load_config(
        [f"data={data}", *root, *(["data.classes=[a,b]"] if data in {"folder", "ade20k_full"} else [])]
    )
    if config.data._target_.endswith("AnnotationDataModule"):  # its classes are those of its files
        with pytest.raises(SegmentError, match=r"no annotation|no labelmap"):
            instantiate(config.data)
    else:
        assert len(instantiate(config.data).classes) > 1


def test_the_defaults_that_the_documentation_promises():
    config = load_config(["model=fcn16s", "data=ade20k", "trainer.devices=4"])
    assert config.model.encoder.weights == "imagenet"
    assert config.model.encoder._target_ == "segment.models.VGGFullyConvolutional"
    assert list(config.model.decoder.skip_strides) == [16]
    assert config.trainer.devices == 4
    assert load_config(["model.decoder.skip_strides=[16,8]"]).model.decoder.skip_strides == [16, 8]
    assert load_config(["model/encoder=timm", "model.encoder.name=convnext_tiny"]).model.encoder.name == "convnext_tiny"


def test_only_our_own_composition_shares_hydra_s_config_store():
    with fast_composition():
        assert ConfigStore.instance().__deepcopy__({}) is ConfigStore.instance()
        assert not gc.isenabled()
        load_config(["model=fcn8s"])  # within it
        assert not gc.isenabled()
    assert not hasattr(ConfigStore, "__deepcopy__")
    assert gc.isenabled()


def test_plain_resolves_interpolations():
    assert plain(OmegaConf.create({"a": 1, "b": ["${a}"]})) == {"a": 1, "b": [1]}
    assert plain("text") == "text"
