"""Runs of equal settings are one row, and the row names the settings in which it differs from others."""

import json
import shutil

import numpy as np
import pytest

from segment.cli.run_folder import read_hydra_record
from segment.comparison.groups import shortest_names
from tests.comparison.conftest import change_metrics, random_pixels, write_run

SKIPS = "model.decoder.skip_strides"


def test_an_ablation_names_the_setting_that_each_run_changes(tmp_path, report):
    for i in range(8):
        options = {f"optimizer.option{j}": 0.5 if i == j else [1, 2] for j in range(1, 8)}
        write_run(tmp_path / f"{i}", options, mIoU=0.1 * i)
    text, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["", *(f"option{i}=0.5" for i in range(1, 8))]
    assert [row["row"] for row in rows] == ["fcn8s", *(f"fcn8s, option{i}=0.5" for i in range(1, 8))]
    assert [row["optimizer.option3"] for row in rows] == [*["[1,2]"] * 3, "0.5", *["[1,2]"] * 4]
    assert "unless the column settings says otherwise: option1=[1,2], option2=[1,2]" in text


def test_each_row_has_its_value_where_none_is_usual(tmp_path, report):
    for i, rate in enumerate((0.1, 0.01, 0.001)):
        write_run(tmp_path / f"{i}", {"optimizer.lr": rate}, mIoU=0.1)
    text, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["lr=0.1", "lr=0.01", "lr=0.001"]
    assert "says otherwise" not in text


def test_keys_with_the_same_last_part_are_named_by_more_of_it(tmp_path, report):
    for i, values in enumerate(((1, 1, "a"), (2, 1, "a"), (1, 2, "a"), (1, 1, "b"))):
        settings = dict(zip(("optimizer.width", "loss.width", "data.images"), values, strict=True))
        write_run(tmp_path / f"{i}", settings, mIoU=0.1)
    _, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["", "optimizer.width=2", "loss.width=2", "data.images=b"]
    assert [row["images"] for row in rows] == ["40"] * 4


def test_shortest_names():
    keys = ["a.b.c", "b.c", "d.c", "loss._target_"]
    assert [*shortest_names(keys, {*keys, "e._target_"}).values()] == ["a.b.c", "b.c", "d.c", "loss"]


def test_an_option_stands_for_the_settings_that_it_sets(tmp_path, report):
    for i, (model, rate) in enumerate((("fcn8s", 0.1), ("fcn8s", 0.2), ("unet", 0.1))):
        folder = write_run(tmp_path / f"{i}", {"optimizer.lr": rate, f"model.of_{model}": 1}, mIoU=0.1)
        text = (folder.hydra / "hydra.yaml").read_text()
        (folder.hydra / "hydra.yaml").write_text(text.replace("fcn8s", model))
    _, rows = report(tmp_path)
    assert [(row["net"], row["settings"]) for row in rows] == [("fcn8s", ""), ("fcn8s", "lr=0.2"), ("unet", "")]


def test_an_option_does_not_hide_the_settings_of_others(tmp_path, report):
    for i, (model, rate) in enumerate((("fcn8s", 0.1), ("unet", 0.2))):
        folder = write_run(tmp_path / f"{i}", {"optimizer.lr": rate, "model.width": i}, mIoU=0.1)
        text = (folder.hydra / "hydra.yaml").read_text()
        (folder.hydra / "hydra.yaml").write_text(text.replace("fcn8s", model))
    _, rows = report(tmp_path)
    assert [row["row"] for row in rows] == ["fcn8s, lr=0.1", "unet, lr=0.2"]


def test_a_setting_that_a_run_does_not_have(tmp_path, report):
    for i, settings in enumerate(({"loss.gamma": 2, "seed": 0}, {"loss.gamma": 2, "loss.x": 1}, {})):
        write_run(tmp_path / f"{i}", settings, mIoU=0.1)
    _, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["", "x=1", "gamma=-"]


def test_nets_that_start_from_other_nets(tmp_path, report, monkeypatch):
    """An FCN-16s from an FCN-32s, seed by seed, is one row; one from another FCN-32s is another row."""
    for name, skips, seed in (("a0", [], 0), ("a1", [], 1), ("b0", [32], 0), ("c2", [], 2)):
        weights = f"/data/{'other' if name == 'c2' else 'one'}/encoder.pth"
        first = write_run(tmp_path / name, {SKIPS: skips, "seed": seed, "model.encoder.weights": weights}, mIoU=0.1)
        settings = {SKIPS: [16], "seed": seed, "model.weights": str(first.best_checkpoint)}
        write_run(tmp_path / f"from_{name}", settings, mIoU=0.2 + 0.1 * seed)
    text, rows = report(tmp_path)
    assert [row["seeds"] for row in rows if row[SKIPS] == "[16]"] == ["2", "1", "1"]
    assert "left out" not in text
    monkeypatch.chdir(tmp_path / "from_a1")
    assert "30.0" in report(tmp_path / "from_a1")[0]


@pytest.fixture
def evaluated_elsewhere(strides):
    """The first run, evaluated on other data, too."""

    def write(name: str, **metrics) -> None:
        shutil.copytree(strides / "0", strides / name)
        change_metrics(strides / name, **metrics)
        (strides / name / "per_image.npz").unlink()

    return write


def test_evaluations_on_other_files_are_rows_of_their_own(strides, report, evaluated_elsewhere):
    evaluated_elsewhere("a", root="/a", files="aaaa", mIoU=0.7)
    evaluated_elsewhere("b", root="/b", files="bbbb", mIoU=0.2)
    text, rows = report(strides)
    assert [row["seeds"] for row in rows] == ["2", "2", "1", "1"]
    assert {(row["root"], row["files"], row["mIoU"]) for row in rows} > {("/a", "aaaa", "0.7"), ("/b", "bbbb", "0.2")}
    assert [row["row"] for row in rows] == [
        "FCN-32s, files 1",
        "FCN-8s, files 1",
        "FCN-32s, files 2",
        "FCN-32s, files 3",
    ]
    assert "not comparable as they stand: the measurements differ in files\n" in text
    assert "files=2: /a\nfiles=3: /b\n" in text


def test_the_same_files_in_another_place_are_the_same_evaluation(strides, report, evaluated_elsewhere):
    """As on another machine."""
    evaluated_elsewhere("moved", root="/elsewhere")
    text, rows = report(strides)
    assert [row["seeds"] for row in rows] == ["2", "2"]
    assert "moved repeats the evaluation of another run: left out" in text
    assert "not comparable" not in text


def test_measurements_that_differ_are_never_compared_silently(strides, tmp_path, report):
    write_run(strides / "4", {SKIPS: [16, 8]}, mIoU=0.9, images=5, protocol="flipped, too; whole split")
    text, rows = report(strides)
    assert "not comparable as they stand: the measurements differ in images, protocol\n" in text
    usual = "images 40, single scale, whole images"
    assert [row["row"] for row in rows] == [f"FCN-32s, {usual}", f"FCN-8s, {usual}", "FCN-8s, images 5, flipped, too"]
    assert "voc, val split, 40 and 5 images" in text
    table = [line for line in (tmp_path / "report" / "report.md").read_text().splitlines() if line.startswith("|")]
    assert not any("**" in line for line in table)  # none is the best


def test_training_on_other_files_is_no_further_seed(tmp_path, report):
    """Runs of one configuration on two data sets, or from two files of the same name."""
    runs = (("/a", "x", "1"), ("/m/a", "x", "1"), ("/b", "x", "2"), ("/a", "y", "1"), ("/b", "x", "3"))
    for i, (root, weights, content) in enumerate(runs):
        settings = {"seed": i, "data.root": root, "model.weights": f"/home/{i}/{weights}/encoder.pth"}
        folder = write_run(tmp_path / f"{i}", settings, mIoU=0.2 * (i + 1), root=root)
        config, choices = read_hydra_record(folder.hydra)
        record = {"config": config, "choices": choices, "data": {"train": content}}
        record |= {"overrides": [], "config_dirs": [], "directory": "/"}
        folder.provenance.write_text(json.dumps(record))
    text, rows = report(tmp_path)
    found = [(row["training files"], row["model.weights"], row["seeds"], f"{float(row['mIoU']):.1f}") for row in rows]
    assert found == [
        ("1", "x/encoder.pth", "2", "0.3"),
        ("2", "x/encoder.pth", "1", "0.6"),
        ("1", "y/encoder.pth", "1", "0.8"),
        ("3", "x/encoder.pth", "1", "1.0"),
    ]
    assert "training files=1: /a\ntraining files=2: /b\ntraining files=3: /b\n" in text
    assert "left out" not in text


def test_training_files_are_not_named_where_a_setting_explains_them(tmp_path, report):
    for i, split in enumerate(("train", "train_aug")):
        folder = write_run(tmp_path / f"{i}", {"data.train_split": split}, mIoU=0.1)
        config, choices = read_hydra_record(folder.hydra)
        record = {"config": config, "choices": choices, "data": {split: split}}
        folder.provenance.write_text(json.dumps(record | {"overrides": [], "config_dirs": [], "directory": "/"}))
    _, rows = report(tmp_path)
    assert [row["settings"] for row in rows] == ["train_split=train", "train_split=train_aug"]


def test_a_copy_of_a_run_is_left_out(strides, report):
    """The spread over seeds would be too small with it."""
    write_run(strides / "6", {SKIPS: [4]}, random_pixels(40, 0.9))
    write_run(strides / "7", {SKIPS: [4]}, random_pixels(40, 0.8))
    text, rows = report(strides)
    assert "7 is left out: another run has the same settings and seed" in text
    assert [row["seeds"] for row in rows] == ["2", "2", "1"]
    assert np.isclose(float(rows[2]["mIoU"]), json.loads((strides / "6" / "metrics.json").read_text())["mIoU"])


def test_a_net_without_its_training_is_named_by_its_folder(tmp_path, report):
    for name in ("one", "two"):
        config = {"checkpoint": f"/gone/{name}/checkpoints/best.ckpt"}
        folder = write_run(tmp_path / name, config, mIoU=0.1, checkpoint=config["checkpoint"])
        (folder.hydra / "hydra.yaml").unlink()
    _, rows = report(tmp_path)
    assert [row["row"] for row in rows] == ["one", "two"]


@pytest.mark.parametrize("by", ["model", "skip_strides"])
def test_fcns_are_called_by_their_finest_stride(tmp_path, report, by):
    for i, skips in enumerate(([], [16], [16, 8])):
        folder = write_run(tmp_path / f"{i}", {SKIPS: skips}, mIoU=0.1)
        if by == "model":
            text = (folder.hydra / "hydra.yaml").read_text()
            (folder.hydra / "hydra.yaml").write_text(text.replace("fcn8s", f"fcn{32 >> i}s"))
    _, rows = report(tmp_path)
    assert [row["row"] for row in rows] == [row["net"] for row in rows] == ["FCN-32s", "FCN-16s", "FCN-8s"]
    assert not {"model", "settings"} & rows[0].keys()
    assert rows[2].get(SKIPS, "[16,8]") == "[16,8]"


def test_nets_of_one_name_are_told_apart(tmp_path, report):
    for i, decoder in enumerate(("segment.models.FCNDecoder", "segment.models.PaperFCNDecoder")):
        write_run(tmp_path / f"{i}", {SKIPS: [16, 8], "model.decoder._target_": decoder}, mIoU=0.1)
    _, rows = report(tmp_path)
    assert [row["row"] for row in rows] == ["FCN-8s, decoder=FCNDecoder", "FCN-8s, decoder=PaperFCNDecoder"]


def test_logging_is_no_setting_and_a_part_that_others_lack_is_named_once(tmp_path, report):
    write_run(tmp_path / "0", {"seed": 0}, mIoU=0.1)
    logging = {
        "logger.wandb.name": "x",
        "callbacks.wandb.count": 4,
        "trainer.profiler": "simple",
        "trainer.logger": True,
    }
    write_run(tmp_path / "1", {"seed": 1, **logging}, mIoU=0.1)
    write_run(
        tmp_path / "2", {"callbacks.ema._target_": "segment.training.Average", "callbacks.ema.decay": 0.9}, mIoU=0.1
    )
    _, rows = report(tmp_path)
    assert [(row["row"], row["seeds"]) for row in rows] == [("fcn8s", "2"), ("fcn8s, ema=Average", "1")]
