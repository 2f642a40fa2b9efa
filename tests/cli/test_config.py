"""Every shipped YAML is composed and built; words of a command line arrive as they were typed."""

from itertools import pairwise, product
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from segment.cli.build import instantiate
from segment.cli.config import CONF_DIR, group_options, load_config, plain
from segment.cli.overrides import quote_path, typed_path
from segment.cli.value_types import check_arguments
from segment.errors import SegmentError
from segment.models.net import SegmentationNet


def build(overrides: list[str], classes: int = 7):
    """The parts of a training run; the net without memory, since a VGG16 has 134 million parameters."""
    config = load_config([*overrides, "model.encoder.weights=null", "model.weights=null"])
    with torch.device("meta"):
        net = instantiate(config.model, num_classes=classes)
    assert isinstance(net, SegmentationNet)
    optimizer = instantiate(config.optimizer)(net)
    assert instantiate(config.scheduler)(optimizer, 100).get_last_lr()
    assert instantiate(config.loss).reduction in {"mean", "sum"}
    return config, net


@pytest.mark.parametrize("name", group_options("."))
def test_every_entry_points_configuration_composes(name):
    assert load_config([], name)


QUICK = {"mobilenet_v2", "unet_milesial", "vgg16_fc_paper"}


@pytest.mark.parametrize("model", group_options("model"))
@pytest.mark.parametrize(
    "encoder", [pytest.param(e, marks=() if e in QUICK else pytest.mark.slow) for e in group_options("model/encoder")]
)
def test_every_model_with_every_encoder(model, encoder):
    words = [f"model={model}", f"model/encoder={encoder}"]
    papers = [kind for kind in ("fcn", "unet") if f"{kind}" in model and model.endswith("_paper")]
    suits = {"vgg16_fc_paper": papers == ["fcn"], "unet_paper": papers == ["unet"]}.get(encoder, not papers)
    missing = encoder.endswith("dilated") and model in {"fcn16s", "fcn8s", "fcn_small"}
    if not suits or missing or (encoder == "unet_milesial" and "fcn" in model):
        with pytest.raises(SegmentError, match=r"no feature at stride 16|needs an encoder with layout|the paper's are"):
            build(words)
        return
    _, net = build(words)
    with torch.device("meta"):
        assert net.eval()(torch.randn(1, 3, 50, 70)).shape == (1, 7, 50, 70)


@pytest.mark.parametrize(("experiment", "model"), list(product(group_options("experiment"), group_options("model"))))
def test_every_experiment_with_every_model(experiment, model):
    words = [f"experiment={experiment}", f"model={model}"]
    # These set the encoder, which is part of the papers' nets.
    if "paper" in model and "mobilenet" in experiment:
        with pytest.raises(SegmentError, match=r"no feature at stride|needs an encoder with layout|the paper's are"):
            build(words)
        return
    config, _ = build(words)
    assert config.data._target_.startswith("segment.data.")


@pytest.mark.parametrize("experiment", group_options("experiment"))
def test_every_experiment_opens_with_command_cost_and_expected_score(experiment):
    head = Path(CONF_DIR, "experiment", f"{experiment}.yaml").read_text().partition("defaults:")[0]
    assert f"experiment={experiment}" in head
    assert "# cost " in head
    assert "# expected " in head
    assert "decoder" not in OmegaConf.load(Path(CONF_DIR, "experiment", f"{experiment}.yaml")).get("model", {})


def test_each_stage_of_the_authors_starts_from_the_one_before():
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
def test_every_option_of_a_run(group, option):
    config, _ = build([f"{group}={option}"])
    instantiate(
        config.trainer,
        accelerator="cpu",
        callbacks=list(instantiate(config.callbacks).values()),
        logger=False,
        enable_checkpointing=True,
    )


class Own:
    """A part of a user's, whose types are not to be relied on."""

    def __init__(self, number: int = None, sizes: [int, int] = None, **rest: str) -> None:  # noqa: RUF013  # wrong on purpose
        self.number, self.sizes, self.rest = number, sizes, rest


def test_values_that_fit_are_let_through():
    words = [
        "trainer.devices=[0]",
        "trainer.limit_val_batches=0.5",
        "trainer.max_time=00:00:01:00",
        "trainer.precision=32",
        "trainer.gradient_clip_val=1",
        "trainer.max_steps=1e3",
        "trainer.sync_batchnorm=0",
        "+trainer.profiler=simple",
        "optimizer.lr=1",
        "optimizer.weight_decay=0",
        "scheduler.momentum=null",
        "+callbacks.best.save_top_k=1.0",
        "data.scale=[1,2]",
        "data.colour=0",
        "data.crop_size=null",
        "data.batch_size=1",
        "loss.class_weights=[1,2.5]",
        "model.decoder.skip_strides=[]",
    ]
    for word in words:
        check_arguments(load_config([word]))
    for value in (None, 2, "a", [1, 2]):
        own = {"_target_": f"{__name__}.Own", "number": value, "sizes": value, "more": value}
        assert instantiate(own).number == value


@pytest.mark.parametrize("data", group_options("data"))
def test_every_data_set(data, tmp_path):
    words = [] if data == "shapes" else [f"data.root={tmp_path}"]
    config = load_config([f"data={data}", *words, *(["data.classes=[a,b]"] if data == "folder" else [])])
    assert len(instantiate(config.data).classes) > 1


def test_defaults_that_the_design_promises():
    config = load_config(["model=fcn16s", "data=ade20k", "trainer.devices=4"])
    assert config.model.encoder.weights == "imagenet"
    assert config.model.encoder._target_.endswith("VGGFullyConvolutional")
    assert list(config.model.decoder.skip_strides) == [16]
    assert config.trainer.devices == 4
    assert load_config(["model.decoder.skip_strides=[16,8]"]).model.decoder.skip_strides == [16, 8]
    assert load_config(["model/encoder=timm", "model.encoder.name=convnext_tiny"]).model.encoder.name == "convnext_tiny"


def test_hydras_own_instantiate_gives_the_net():
    config = load_config(["model=fcn8s", "data=voc", "model/encoder=mobilenet_v2", "model.encoder.weights=null"])
    net = hydra.utils.instantiate(config.model, num_classes=21)
    assert net(torch.randn(2, 3, 40, 50)).shape == (2, 21, 40, 50)


@pytest.mark.parametrize(
    "path",
    [
        "a (1).jpg",
        "a,b.jpg",
        "IMG_[1]{2}.jpg",
        "~/x.jpg",
        "epoch=12.ckpt",
        "it's.png",
        "back\\",
        "\\'",
        "a${b}",
        "ä %:#.png",
    ],
)
def test_paths_may_hold_any_character(path):
    overrides = [f"checkpoint={path}", f"input={path}", f"output={path}"]
    assert plain(load_config(overrides, "predict"))["input"] == path
    assert quote_path(quote_path(f"input={path}")) == quote_path(f"input={path}")


def test_folders_that_hydra_cannot_read_are_quoted_and_sweeps_are_not():
    assert load_config(["data=voc", "data.root=~/my data"]).data.root == "~/my data"
    assert quote_path("model.encoder.weights=imagenet,null") == "model.encoder.weights=imagenet,null"


@pytest.mark.parametrize("path", ["it's.ckpt", "a\\", "plain", "b${c}"])
def test_the_words_before_hydra_are_read_as_hydra_reads_them(monkeypatch, path):
    for word in (f"checkpoint={path}", quote_path(f"checkpoint={path}")):
        monkeypatch.setattr("sys.argv", ["x", word])
        assert typed_path("checkpoint") == path


@pytest.mark.parametrize("word", ["model.encoder.weights=null", "input='a b'", "resume=", "trainer.devices=2", "-m"])
def test_other_words_stay_as_they_are(word):
    assert quote_path(word) == word
