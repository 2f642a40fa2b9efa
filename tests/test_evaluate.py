"""segment.evaluate by the real command: its files, by any protocol and on any number of processes."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from segment.cli.build import instantiate
from segment.data.datasets.shapes import SHAPES
from segment.errors import SegmentError
from segment.evaluate import check_source
from segment.models.state_dicts import METADATA
from segment.prediction.inference import Inference
from segment.records import checkpoint as checkpoints
from segment.records.folder import RunFolder
from tests.conftest import untrained, write_pair

QUIET = ("data.num_workers=0", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu")


@pytest.fixture
def checkpoint(tmp_path):
    return untrained(tmp_path / "net.ckpt", "data=shapes", "data.val_size=5")


def recount(checkpoint: Path, inference: Inference) -> tuple[np.ndarray, np.ndarray]:
    """Count the five images again: the confusion matrix (6,6), and correct, true and predicted pixels (5,3,6)."""
    content = checkpoints.load_checkpoint(checkpoint)
    net, data = checkpoints.load_net(content, checkpoint), instantiate(content[METADATA]["data"]).dataset("val")
    rows = []
    for i in range(5):
        own = np.zeros((6, 6), np.int64)
        prediction, truth = inference.class_map(net, data[i]["image"]).numpy(), data[i]["mask"].numpy()
        np.add.at(own, (truth[truth != 255], prediction[truth != 255]), 1)
        rows.append(own)
    return sum(rows), np.array([[own.diagonal(), own.sum(1), own.sum(0)] for own in rows])


def check_counts(folder: Path, confusion: np.ndarray, counts: np.ndarray) -> None:
    saved = np.load(folder / "per_image.npz")
    assert {saved[key].dtype.kind for key in ("ids", "names")} == {"U"}
    assert {saved[key].dtype for key in ("hits", "truth", "predicted")} == {np.dtype(np.int64)}
    assert tuple(saved["names"]) == SHAPES.names
    assert len(set(saved["ids"])) == 5
    assert np.array_equal(np.stack([saved[key] for key in ("hits", "truth", "predicted")], 1), counts)
    rows = list(csv.reader((folder / "confusion.csv").open()))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(SHAPES.names)
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), confusion)


def test_metrics_counts_and_pictures_are_written(main, checkpoint, capfd, monkeypatch):
    read, load = [], checkpoints.load_checkpoint
    monkeypatch.setattr(checkpoints, "load_checkpoint", lambda path: read.append(path) or load(path))
    protocol = ("inference.scales=[0.5,1]", "inference.flip=true", "inference.window=[64,96]")
    folder = main("evaluate", f"checkpoint={checkpoint}", *protocol, "boundary=true", *QUIET)
    monkeypatch.undo()
    assert read == [checkpoint]  # once, although it is needed before and after Hydra starts
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["protocol"].startswith("windows of 64x96, stride 42x64, Gaussian blend, scales 0.5 1, flipped; ")
    confusion, counts = recount(checkpoint, Inference((64, 96), None, (0.5, 1), True))
    check_counts(folder, confusion, counts)
    iou = confusion.diagonal() / (confusion.sum(1) + confusion.sum(0) - confusion.diagonal())
    assert metrics["mIoU"] == pytest.approx(np.mean(iou), rel=1e-12)
    assert metrics["mIoU_without_background"] == pytest.approx(np.mean(iou[1:]), rel=1e-12)
    assert metrics["mIoU_interval"][0] <= metrics["mIoU"] <= metrics["mIoU_interval"][1]
    assert set(metrics["boundary"]["per_class_boundary_IoU"]) == set(SHAPES.names)
    assert list(metrics["boundary"]["trimap"]) == ["1", "2", "4", "8", "16", "32"]
    with np.errstate(invalid="ignore"):
        own = np.nanmean(counts[:, 0] / (counts[:, 1] + counts[:, 2] - counts[:, 0]), 1)
    ids = np.load(folder / "per_image.npz")["ids"]
    groups = {"worst": np.argsort(own)[:3], "best": np.argsort(own)[:2:-1]}
    names = {f"{kind}_{i}_{ids[k]}.png" for kind, order in groups.items() for i, k in enumerate(order, 1)}
    assert {path.name for path in (folder / "predictions").iterdir()} == names
    assert Image.open(folder / "confusion.png").size[0] > 300
    shown = capfd.readouterr().out
    assert f"{100 * metrics['mIoU_interval'][0]:.1f} to" in shown
    assert "boundary IoU" in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("note: ")) <= 80
    assert not list(folder.rglob("*.part"))


@pytest.mark.slow
def test_three_processes_count_the_same_integers_as_one(run, main, checkpoint):
    """The processes get the name of the checkpoint as it stands."""
    odd = checkpoint.rename(checkpoint.with_name("it's, best=1.ckpt"))
    ddp = ("trainer.devices=3", "trainer.strategy=ddp", "hydra.run.dir=three", "boundary=true")
    run("evaluate", f"checkpoint={odd}", *ddp, *QUIET)
    three, one = odd.parent / "three", main("evaluate", f"checkpoint={odd}", "boundary=true", *QUIET)
    check_counts(three, *recount(odd, Inference()))
    assert json.loads((three / "metrics.json").read_text()) == json.loads((one / "metrics.json").read_text())


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_others(run, checkpoint, tmp_path):
    """Without help they would wait for it in a collective operation. Here the second process is slow on purpose."""
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\n"
        "from segment.data.datasets.folder import FolderDataModule\n"
        "class Slow(FolderDataModule):\n"
        "    def dataset(self, *arguments, **options):\n"
        "        data = super().dataset(*arguments, **options)\n"
        "        load = data.load\n"
        "        def late(index):\n"
        "            if os.environ.get('LOCAL_RANK') == '1':\n"
        "                time.sleep(30)\n"
        "                pathlib.Path('outlived').touch()\n"
        "            return load(index)\n"
        "        data.load = late\n"
        "        return data\n"
    )
    for i in range(4):  # the first process gets the third image, whose label 99 is no class
        write_pair(tmp_path / f"d/images/{i}.png", tmp_path / f"d/masks/{i}.png", np.full((40, 50), 99 * (i == 2)), i)
    (tmp_path / "d" / "val.txt").write_text("0\n1\n2\n3\n")
    (tmp_path / "d" / "train.txt").write_text("0\n")
    data = ("data=folder", f"data.root={tmp_path / 'd'}", f"data.classes=[{','.join(SHAPES.names)}]")
    ddp = ("trainer.devices=2", "trainer.strategy=ddp", "data.num_workers=0", "data._target_=slow.Slow")
    done = run("evaluate", f"checkpoint={checkpoint}", *data, *ddp, *QUIET, check=False)
    assert done.returncode == 1
    assert "2.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outlived").exists()


def test_ignored_pixels_alone_and_a_part_of_a_split(main, checkpoint, tmp_path):
    for i in range(3):
        write_pair(tmp_path / f"d/images/{i}.png", tmp_path / f"d/masks/{i}.png", np.full((40, 50), 255), i)
    (tmp_path / "d" / "val.txt").write_text("0\n1\n2\n")
    (tmp_path / "d" / "train.txt").write_text("0\n")
    classes = f"data.classes=[{','.join(SHAPES.names)}]"
    data = ("data=folder", f"data.root={tmp_path / 'd'}", classes, "trainer.limit_val_batches=2", "boundary=true")
    folder = main("evaluate", f"checkpoint={checkpoint}", *data, *QUIET)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == len(np.load(folder / "per_image.npz")["ids"]) == 2
    assert metrics["mIoU"] is metrics["pixel_accuracy"] is metrics["boundary"]["boundary_IoU"] is None
    assert metrics["mIoU_interval"] is None
    assert metrics["mIoU_interval_note"] == "no interval: it needs two images with a counted pixel, got 0"
    assert set(metrics["per_class_IoU"].values()) == {None}
    assert not list((folder / "predictions").iterdir())  # no image is better than another


def same_results(one: Path, other: Path) -> bool:
    """Return whether two evaluations have the same metrics, besides their source, and the same counts."""
    source = {"protocol", "predictions", "checkpoint", "checkpoint_digest", "precision", "images_trained_on"}
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (one, other))
    assert {"predictions", "protocol"} <= second.keys()
    metrics = [{key: value for key, value in found.items() if key not in source} for found in (first, second)]
    counts = [np.load(folder / "per_image.npz") for folder in (one, other)]
    return metrics[0] == metrics[1] and all(np.array_equal(counts[0][key], counts[1][key]) for key in counts[0])


@pytest.mark.slow
def test_the_masks_of_segment_predict_have_the_metrics_of_the_checkpoint(main, folder_root, tmp_path, capfd):
    data = ("data=folder", f"data.root={folder_root}", "data.classes=[a,b,c]")
    checkpoint = untrained(tmp_path / "net.ckpt", *data)
    content = torch.load(checkpoint, weights_only=True)
    for key, value in content["state_dict"].items():
        if ".score." in key:
            value.normal_(generator=torch.Generator().manual_seed(1))
    torch.save(content, checkpoint)
    images, options = folder_root / "val/images", ("inference.flip=true", "inference.max_memory=2")
    main("predict", f"checkpoint={checkpoint}", f"input={images}", "output=it's masks", "probabilities=true", *options)
    by_net = main("evaluate", f"checkpoint={checkpoint}", *options, "boundary=true", *QUIET)
    (tmp_path / "it's masks" / "notes.txt").touch()
    capfd.readouterr()
    by_masks = main("evaluate", "predictions=it's masks", *data, "boundary=true", *QUIET)
    assert same_results(by_net, by_masks)
    shown = capfd.readouterr().out
    assert "note: 1 further files in it's masks: notes.txt\n" in shown
    assert "mean IoU" in shown
    assert len(list((by_masks / "predictions").glob("worst_*.png"))) == 2
    for name in ("0.png", "1.png"):
        (tmp_path / "it's masks" / name).unlink()  # NAME.npz is there
    mixed = main("evaluate", "predictions=it's masks", *data, *QUIET)
    found = json.loads((mixed / "metrics.json").read_text())
    assert "for 2 of 3 images the argmax of scores, which may be rounded; one image at a time" in found["protocol"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("checkpoint=a.ckpt", "data=shapes"), "checkpoint= is for a net, and predictions= judges files"),
        (("++checkpoint=a.ckpt", "data=shapes"), "checkpoint= is for a net, and predictions= judges files"),
        (("++calibration=true", "data=shapes"), "calibration= is for a net"),
        (("+data=shapes", "predictions.labels=ade"), "predictions.labels=ade: expected index or dataset or null"),
        (("inference.flip=true", "data=shapes"), "inference.flip= is for a net"),
        (("submit=voc", "data=voc"), "submit= is for a net"),
        (("calibration=true", "data=shapes"), "calibration= is for a net"),
        ((), "data is missing: predictions=FOLDER needs the data set of the images, data=NAME"),
        (("data=shapes", "predictions.labels=ade"), "predictions.labels=ade: expected index or dataset or null"),
        (
            ("data=shapes",),
            r"masks has no prediction for 60 of 60 images: 00000, 00001, 00002, \.\.\.; expected 00000.png",
        ),
    ],
)
def test_predictions_that_cannot_be_judged(main, tmp_path, overrides, message):
    (tmp_path / "masks").mkdir()
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        main("evaluate", "predictions=masks", *overrides, *QUIET)


@pytest.mark.parametrize(
    ("key", "value"),
    [("checkpoint", "a.ckpt"), ("calibration", True), ("submit", "voc"), ("predictions.labels", "index")],
)
def test_values_of_a_net_and_of_predictions_exclude_each_other(key, value):
    """Check values as well as the command line: a user's own configuration may hold both."""
    given = {
        "checkpoint": None,
        "calibration": False,
        "submit": None,
        "predictions": {"folder": "masks", "labels": None},
    }
    config = OmegaConf.create(given)
    check_source(config)
    OmegaConf.update(config, key, value)
    if key == "predictions.labels":
        OmegaConf.update(config, "predictions.folder", None)
        OmegaConf.update(config, "checkpoint", "a.ckpt")
    with pytest.raises(SegmentError, match=f"^{key}= is for "):
        check_source(config)


def test_nothing_to_judge(main):
    with pytest.raises(SystemExit, match=r"^error: checkpoint is missing: give checkpoint=FILE, or predictions=FOLDER"):
        main("evaluate")


@pytest.mark.slow
def test_calibration(main, checkpoint, capfd):
    folder = main("evaluate", f"checkpoint={checkpoint}", "calibration=true", *QUIET)
    found = json.loads((folder / "metrics.json").read_text())
    confidence, right = [], []
    content = checkpoints.load_checkpoint(checkpoint)
    net, data = checkpoints.load_net(content, checkpoint), instantiate(content[METADATA]["data"]).dataset("val")
    for i in range(5):
        with torch.no_grad():
            highest, classes = net(net.normalize(data[i]["image"][None])).softmax(1)[0].max(0)
        counted = data[i]["mask"] != 255
        confidence.append(highest[counted].double())
        right.append((classes == data[i]["mask"])[counted].double())
    confidence, right = torch.cat(confidence), torch.cat(right)
    bins = (confidence * 15).long()
    expected = sum(abs((confidence - right)[bins == k].sum()) for k in range(15)) / len(right)
    assert found["calibration"]["expected_calibration_error"] == pytest.approx(float(expected), abs=1e-6)
    assert sum(part["pixels"] for part in found["calibration"]["bins"]) == len(right)
    assert Image.open(folder / "calibration.png").size[0] > 300
    assert "calibration error" in capfd.readouterr().out


@pytest.mark.slow
def test_groups_of_images(main, checkpoint, capfd):
    overrides = (r"data.groups.pattern=000(\d\d)", "trainer.limit_val_batches=4")
    folder = main("evaluate", f"checkpoint={checkpoint}", *overrides, *QUIET)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["mIoU_interval_groups"], metrics["mIoU_interval_images"]) == (4, 4)
    assert np.load(folder / "per_image.npz")["groups"].tolist() == ["00", "01", "02", "03"]
    assert "note: the interval is uncertain: 4 groups are fewer than 10" in capfd.readouterr().out
    with pytest.raises(SystemExit, match=r"^error: data.groups has pattern and block: give one of them"):
        main("evaluate", f"checkpoint={checkpoint}", overrides[0], "data.groups.block=2", *QUIET)


@pytest.mark.slow
def test_one_image_gives_no_interval(main, checkpoint):
    folder = main("evaluate", f"checkpoint={checkpoint}", "trainer.limit_val_batches=1", *QUIET)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["mIoU"] is not None
    assert metrics["mIoU_interval"] is None
    assert metrics["mIoU_interval_images"] == metrics["images"] == 1


@pytest.mark.parametrize(
    "override", ["boundary=maybe", "seed=x", "inference.scales=[0]", "submit=voc", "submit=kitti", "split=3"]
)
def test_a_wrong_value_is_one_line(main, checkpoint, override):
    with pytest.raises(SystemExit) as stopped:
        main("evaluate", f"checkpoint={checkpoint}", override, *QUIET)
    assert str(stopped.value).startswith("error: " + override.partition("=")[0])
    assert "expected" in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("override", ["bootstrap=100", "+bootstrap=0"])
def test_bootstrap_names_what_took_its_place(main, checkpoint, override):
    message = rf"^error: {re.escape(override)}: the interval is computed by the jackknife and needs no resamples"
    with pytest.raises(SystemExit, match=message):
        main("evaluate", f"checkpoint={checkpoint}", override, *QUIET)


def test_no_evaluated_image_is_one_line(main, checkpoint):
    with pytest.raises(SystemExit, match="error: nothing was evaluated"):
        main("evaluate", f"checkpoint={checkpoint}", "trainer.limit_val_batches=0", *QUIET)


def test_the_metrics_of_a_training_are_not_replaced(main, checkpoint, tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "provenance.json").write_text("{}")
    (folder / "metrics.json").write_text("of the training")
    with pytest.raises(SystemExit, match=r"^error: hydra.run.dir=.*trained: a net was trained there"):
        main("evaluate", f"checkpoint={checkpoint}", f"hydra.run.dir={folder}", *QUIET)
    assert (folder / "metrics.json").read_text() == "of the training"


@pytest.mark.slow
def test_a_failed_evaluation_leaves_no_earlier_metrics(main, checkpoint):
    folder = main("evaluate", f"checkpoint={checkpoint}", "data.val_size=3", *QUIET)
    earlier = {path.name for path in (folder / "predictions").glob("*.png")}
    with pytest.raises(SystemExit, match="nothing was evaluated"):
        main("evaluate", f"checkpoint={checkpoint}", f"hydra.run.dir={folder}", "trainer.limit_val_batches=0", *QUIET)
    assert earlier
    assert not (folder / "metrics.json").exists()
    assert not list((folder / "predictions").glob("*.png"))


@pytest.mark.parametrize(
    "override", ["boundary=maybe", "data.groups.pattern=x", "predictions=masks", "trainer.devices=x"]
)
def test_a_mistake_keeps_the_earlier_metrics(main, checkpoint, tmp_path, override):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.claim()
    folder.metrics.write_text("earlier")
    (tmp_path / "masks").mkdir()
    source = "data=shapes" if "predictions" in override else f"checkpoint={checkpoint}"
    with pytest.raises(SystemExit, match=r"^error: "):
        main("evaluate", source, override, f"hydra.run.dir={folder.path}", *QUIET)
    assert folder.metrics.read_text() == "earlier"


@pytest.mark.slow
def test_another_split_and_other_data_settings(main, checkpoint, capfd):
    folder = main("evaluate", f"checkpoint={checkpoint}", "split=test", "data.test_size=2", *QUIET)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["split"], metrics["images"]) == ("test", 2)
    assert len(list((folder / "predictions").glob("*.png"))) == 2
    assert "IoU on the test split, " in capfd.readouterr().out


@pytest.mark.slow
def test_another_data_set_must_have_the_same_classes(main, checkpoint, voc_root):
    with pytest.raises(SystemExit, match=r"has 6 classes, the data has 21, .*: class 1 is disc there and aeroplane"):
        main("evaluate", f"checkpoint={checkpoint}", "data=voc", f"data.root={voc_root}", *QUIET)


def test_other_data_are_read_as_those_that_the_net_was_trained_on(main, tmp_path):
    """Here at a depth that does not hold the values; by themselves they would be read as 14 bits."""
    write_pair(tmp_path / "val/images/a.png", tmp_path / "val/masks/a.png", np.zeros((32, 32)), 0)
    Image.fromarray(np.full((32, 32), 5000, np.uint16)).save(tmp_path / "val/images/a.png")
    data = ("data=folder", f"data.root={tmp_path}", "data.classes=[a,b]")
    untrained(tmp_path / "deep.ckpt", *data, "data.bits=12")
    with pytest.raises(SystemExit, match=r"a.png: it holds 5000, and data.bits=12 means 0 to 4095"):
        main("evaluate", f"checkpoint={tmp_path}/deep.ckpt", *data, *QUIET)
