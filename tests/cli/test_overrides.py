"""Overrides reach the configuration as they were typed, whatever characters a path holds."""

import pytest

from segment.cli.config import load_config, plain
from segment.cli.overrides import (
    REPEATED,
    ROUNDING,
    RUN_LENGTH,
    WITHOUT_EFFECT,
    matches_key,
    override_key,
    quote_path,
    typed_path,
)
from segment.errors import SegmentError


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
def test_a_path_may_hold_any_character(path):
    overrides = [f"checkpoint={path}", f"input={path}", f"output={path}"]
    assert plain(load_config(overrides, "predict"))["input"] == path
    assert quote_path(quote_path(f"input={path}")) == quote_path(f"input={path}")


def test_the_home_folder_is_expanded_in_hydra_s_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/josé")
    assert quote_path("hydra.run.dir=~/a b") == "hydra.run.dir='/home/josé/a b'"
    assert quote_path("hydra.sweep.dir=~/x,y") == "hydra.sweep.dir='/home/josé/x,y'"
    assert quote_path("hydra.run.dir=a~b") == "hydra.run.dir='a~b'"


def test_a_folder_that_hydra_cannot_read_is_quoted_and_a_sweep_is_not():
    assert load_config(["data=voc", "data.root=~/my data"]).data.root == "~/my data"
    assert quote_path("model.encoder.weights=imagenet,null") == "model.encoder.weights=imagenet,null"


@pytest.mark.parametrize(
    "override", ["model.encoder.weights=null", "input='a b'", "resume=", "trainer.devices=2", "-m"]
)
def test_other_overrides_are_not_changed(override):
    assert quote_path(override) == override


@pytest.mark.parametrize("path", ["it's.ckpt", "a\\", "plain", "b${c}"])
def test_a_path_read_before_hydra_starts_is_the_path_that_hydra_reads(monkeypatch, path):
    for override in (f"checkpoint={path}", quote_path(f"checkpoint={path}")):
        monkeypatch.setattr("sys.argv", ["x", override])
        assert typed_path("checkpoint") == path


def test_the_last_path_counts_and_null_is_no_path():
    assert typed_path("resume", ["resume=a", "resume=b"]) == "b"
    assert typed_path("resume", ["resume=a", "resume=null"]) is None
    assert typed_path("resume", ["model=unet"]) is None


def test_the_sets_of_keys():
    assert override_key("a.b=c=d") == "a.b"
    assert matches_key("trainer.max_epochs", RUN_LENGTH)
    assert matches_key("hydra.run.dir", WITHOUT_EFFECT)
    assert matches_key("callbacks.wandb.count", WITHOUT_EFFECT)
    assert not matches_key("callbacks.ema.decay", WITHOUT_EFFECT, RUN_LENGTH, ROUNDING)
    assert matches_key("trainer.strategy._target_", ROUNDING)
    assert not matches_key("data.batch_size", WITHOUT_EFFECT, RUN_LENGTH, ROUNDING, REPEATED)
    assert matches_key("data.seed", REPEATED)
    assert matches_key("data.fold", REPEATED)


def test_a_table_of_classes_may_have_names_of_any_kind():
    for text, expected in (
        ("{0:Straße,5:'a:b'}", {0: "Straße", 5: "a:b"}),
        ("{128/64/128:Straße,0/0/0:void}", {"128/64/128": "Straße", "0/0/0": "void"}),
        ("[Straße,'x, y',\"ü\"]", ["Straße", "x, y", "ü"]),
    ):
        assert plain(load_config(["data=folder", f"data.classes={text}"]).data.classes) == expected
    with pytest.raises(SegmentError, match=r"before a colon is of ASCII letters, .* YAML file, for --config-dir$"):
        quote_path("data.classes={Straße:[a]}")
