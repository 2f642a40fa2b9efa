"""Pictures, tables and artifacts for wandb, read back from the files that it writes offline."""

import csv
import functools
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from segment.errors import SegmentError
from segment.evaluation.examples import predict_examples
from segment.training.wandb_media import WandbMedia
from tests.conftest import SMALL

TINY = (*SMALL, "data.train_size=8", "data.val_size=3", "data.crop_size=[64,64]", "trainer.max_epochs=1")
QUICK = ("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "logger=wandb", "callbacks.wandb.count=2")
BLOCK = 32768
"""Size of a block in LevelDB's log format."""


def records(path: Path) -> Iterator:
    """Yield the records of a .wandb file: protocol buffers in LevelDB's log format, after a head of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at < len(data):
        free = BLOCK - at % BLOCK
        if free < 7:  # too few bytes for a header
            at += free
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def read_back(folder: Path) -> dict:
    """Return the id, group, logged values by key, files and artifacts of the only wandb run in a run folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: dict = {"logged": {}, "artifacts": [], "files": path.parent / "files"}
    for record in records(path):
        if record.HasField("run"):
            found |= {"id": record.run.run_id, "group": record.run.run_group}
        if record.HasField("artifact"):
            found["artifacts"].append(record.artifact)
        for item in record.config.update:
            if item.key == "_wandb":
                found["labels"] = json.loads(item.value_json).get("mask/class_labels", {})
        if record.HasField("exit"):
            found["exit"] = record.exit.exit_code
        row: dict = {}
        for item in record.history.item:
            *outer, last = item.nested_key
            functools.reduce(lambda node, key: node.setdefault(key, {}), outer, row)[last] = json.loads(item.value_json)
        for key, value in row.items():
            found["logged"].setdefault(key, []).append(value)
    return found


def check_media(found: dict) -> None:
    """Check the masks with their class names, the table, the confusion matrix, and the files that they name."""
    logged, files = found["logged"], found["files"]
    for name in ("00000", "00002"):
        image = logged[f"predictions/{name}"][-1]
        assert image["caption"] == name
        for kind in ("prediction", "truth"):
            mask = Image.open(files / image["masks"][kind]["path"])
            assert mask.size == (image["width"], image["height"])
    assert len(found["labels"]) == 4
    assert all(label["value"]["1"] == "disc" and label["value"]["255"] == "void" for label in found["labels"].values())
    table = json.loads((files / logged["per_class_IoU"][-1]["path"]).read_text())
    assert [row[0] for row in table["data"]][:2] == ["background", "disc"]
    assert len(table["data"]) == 6
    assert Image.open(files / logged["confusion_matrix"][-1]["path"]).width > 400
    assert logged["val/mIoU"]
    assert any(key.startswith("lr-") for key in logged)
    assert all(value > 0 for value in logged["train/images_per_second"])


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.slow
def test_an_offline_run_with_its_checkpoint(main, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "strides")
    folder = main("train", *TINY, *QUICK, "callbacks.wandb.artifact=true")
    ends = time.monotonic() + 60
    while "exit" not in (found := read_back(folder)) and time.monotonic() < ends:
        time.sleep(0.1)  # wandb writes in a process of its own
    check_media(found)
    assert found["group"] == "strides"
    assert found["exit"] == 0
    (artifact,) = (artifact for artifact in found["artifacts"] if artifact.type == "model")
    assert Path(artifact.manifest.contents[0].local_path) == folder / "checkpoints" / "best.ckpt"
    with (folder / "metrics.csv").open() as file:
        rates = [float(row["train/images_per_second"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(rates) == 4
    assert all(rate > 0 for rate in rates)
    import wandb

    assert wandb.run is None  # otherwise the next run of this process would continue this one


@pytest.mark.slow
def test_pictures_show_the_weights_that_were_validated(main, monkeypatch):
    """Those are the averaged weights, in whatever order the callbacks are named."""
    seen = {}

    def look(net, inference, dataset, indices):
        seen.update({name: value.clone() for name, value in net.state_dict().items()})
        return predict_examples(net, inference, dataset, indices)

    monkeypatch.setattr("segment.training.wandb_media.predict_examples", look)
    folder = main("train", *TINY, *QUICK, "callbacks=[ema,default]", "callbacks.ema.decay=0.5", "optimizer.lr=0.1")
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert seen
    assert all(torch.equal(value, best[f"net.{name}"]) for name, value in seen.items())


def test_the_epochs_between_two_uploads_are_counted_from_one():
    with pytest.raises(SegmentError, match=r"^callbacks.wandb: expected every_n_epochs from 1 .* got 0 and 4$"):
        WandbMedia(every_n_epochs=0)
