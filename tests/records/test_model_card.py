"""A model card says what the run folder says, and publishes no folder of this machine."""

import json

import pytest
import yaml

from segment.files import checkpoint_digest
from segment.records.hub import PICTURE
from segment.records.model_card import model_card, read_card_facts, training_command

METADATA = {
    "model": {"encoder": {"weights": "imagenet", "name": "resnet50"}, "weights": None},
    "data": {"_target_": "segment.data.VOCDataModule", "root": "voc"},
    "classes": {"names": ["background", "a|b <i>"], "palette": [[0, 0, 0], [1, 1, 1]]},
}
METRICS = {
    "mIoU": 0.51234,
    "mIoU_interval": [0.4, 0.6],
    "mIoU_interval_covers": "the interval is over the choice of 9 images",
    "mIoU_interval_note": None,
    "pixel_accuracy": 0.9,
    "per_class_IoU": {"background": 0.9, "a|b <i>": None},
    "data": "voc",
    "split": "val",
    "images": 9,
    "images_trained_on": 2,
    "protocol": "whole images",
}
RECORD = {
    "overrides": ["model=fcn8s", "data=voc", "data.root=/home/me/voc", "model.weights=/home/me/best.ckpt", "seed=3",
                  "hydra.run.dir=/home/me/run", "logger=wandb", "data.url=http://me:pw@x/y.zip"],
    "config_dirs": ["/home/me/conf"],
}  # fmt: skip


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_a_card_has_metrics_data_licence_and_command(tmp_path):
    card = model_card("cells", "hf://ada/cells", METADATA, (METRICS, training_command(RECORD), tmp_path), "cc-by-4.0")
    head = front_matter(card)
    assert (head["library_name"], head["pipeline_tag"], head["license"]) == (
        "segment-lightning",
        "image-segmentation",
        "cc-by-4.0",
    )
    (result,) = head["model-index"][0]["results"]
    assert (result["dataset"]["name"], result["metrics"][0]["value"]) == ("voc", 0.5123)
    for text in (
        "with 2 classes: background, a\\|b &lt;i&gt;.",
        "| mean IoU | 51.2 | 40.0 to 60.0 (95 %) |",
        "| IoU of a\\|b &lt;i&gt; | - |  |",
        "**voc, val split, 9 images, per cent**",
        "2 of these images were in the training set, so these scores are optimistic.",
        "Interval: the interval is over the choice of 9 images.",
        "Licence: cc-by-4.0. The training began with `encoder.weights=imagenet`: that licence applies, too.",
        "segment.train --config-dir DIR model=fcn8s data=voc model.weights=best.ckpt seed=3 data.root=DIR\n",
        f"]({PICTURE})",
        "segment.load('hf://ada/cells')",
    ):
        assert text in card
    assert "/home" not in card
    assert "pw@" not in card


def test_the_card_of_an_own_net_says_which_trust_it_needs():
    own = {**METADATA, "model": {"_target_": "mylab.Net"}}
    card = model_card("cells", "hf://ada/cells", own, ({}, [], None), None)
    assert "segment.load('hf://ada/cells', trust=['mylab'])" in card
    assert "checkpoint=hf://ada/cells 'trust=[mylab]' input=PHOTOS" in card


def test_a_command_has_no_folder_of_this_machine():
    record = {"overrides": ["data.groups={file: /home/me/groups.csv}"], "config_dirs": []}
    assert training_command(record)[3:] == ["data.groups={file: groups.csv}"]


def test_what_is_not_known_is_said():
    card = model_card("cells", "cells", METADATA, ({}, [], None), None)
    assert {*front_matter(card)} == {"library_name", "pipeline_tag", "tags"}
    for text in ("Not evaluated.", "Licence: not stated by the author.", "not recorded.", "Trained on VOCDataModule."):
        assert text in card
    assert PICTURE not in card


@pytest.mark.parametrize("other", [False, True])
def test_metrics_are_those_of_the_checkpoint(tmp_path, other):
    checkpoint = tmp_path / "checkpoints" / "best.ckpt"
    for path in (checkpoint, tmp_path / "predictions" / "a.png", tmp_path / "predictions" / "b.png"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    digest = "0" * 16 if other else checkpoint_digest(checkpoint)
    (tmp_path / "metrics.json").write_text(json.dumps({**METRICS, "checkpoint_digest": digest}))
    metrics, command, picture = read_card_facts(checkpoint)
    assert command == []
    assert (metrics.get("mIoU"), picture) == ((None, None) if other else (0.51234, tmp_path / "predictions" / "a.png"))
