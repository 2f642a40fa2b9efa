"""segment.report: from runs on disk, made by hand or trained, to tables, intervals, costs and pictures."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segment.cli.build import instantiate
from segment.cli.config import load_config, plain, read_hydra_record
from segment.comparison.paired import Counts, difference
from segment.data.datasets.shapes import SHAPES
from segment.display.grid import tex
from segment.display.plots import Point, against_cost, place_labels
from segment.evaluation.intervals import mean_iou
from segment.files import checkpoint_digest
from segment.records.checkpoint import make_card
from segment.report import main as report
from tests.conftest import SMALL

NAMES = ("background", "cat", "dog")


def counts(images: int, skill: float, seed: int = 0) -> np.ndarray:
    """Pixels hit, true and predicted (N,3,C): of the same truth, with more hits for more skill."""
    truth = np.random.default_rng(99).integers(0, 1000, (images, len(NAMES)))
    hits = (truth * np.random.default_rng(seed).uniform(skill - 0.2, skill, truth.shape)).astype(int)
    return np.stack([hits, truth, hits + np.roll(truth - hits, 1, axis=1)], axis=1)


def write_run(folder: Path, skips: list[int], seed: int, pixels: np.ndarray | None, **told) -> Path:
    """What a run leaves, as far as the report reads it."""
    (folder / ".hydra").mkdir(parents=True)
    if pixels is not None:
        parts = dict(zip(("hits", "truth", "predicted"), np.moveaxis(pixels, 1, 0), strict=True))
        np.savez(folder / "per_image.npz", ids=[f"{i:03d}" for i in range(len(pixels))], names=NAMES, **parts)
        told = {"mIoU": float(mean_iou(pixels.sum(0)))} | told
    figures = {"pixel_accuracy": 0.5, "mean_accuracy": 0.25, "frequency_weighted_IoU": None}
    figures |= {"per_class_IoU": dict.fromkeys(NAMES, 0.1), "split": "val", "images": 40, "precision": "32-true"}
    figures |= {"protocol": "single scale", "checkpoint": str(folder / "checkpoints" / "best.ckpt"), **told}
    (folder / "metrics.json").write_text(json.dumps(figures))
    config = {
        "seed": seed,
        "data": {"_target_": "segment.data.datasets.voc.VOCDataModule", "root": str(folder), "seed": "${seed}"},
        "model": {"_target_": "segment.models.net.SegmentationNet", "decoder": {"skip_strides": skips}},
        "checkpoint": {"every_n_steps": None},
    }
    choices = {"hydra": {"runtime": {"choices": {"model": "fcn8s", "model/encoder": "vgg16_fc", "data": "voc"}}}}
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(choices))
    return folder


def write_job(folder: Path, state: str, **more) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    status = {"overrides": ["seed=7"], "state": state, "exit_code": None, "signal": None, "error": "", "ended": None}
    (folder / "job.json").write_text(json.dumps({**status, "started": "2026-01-01T00:00:00", **more}))


@pytest.fixture
def strides(tmp_path):
    """Two nets with two seeds each."""
    for i, (skips, skill) in enumerate((([], 0.5), ([], 0.55), ([16, 8], 0.8), ([16, 8], 0.9))):
        write_run(tmp_path / "runs" / f"{i}", skips, i % 2, counts(40, skill, i))
    return tmp_path / "runs"


def fails(capsys, *words) -> str:
    with pytest.raises(SystemExit) as end:
        report(list(map(str, words)))
    assert "Traceback" not in capsys.readouterr().err
    return str(end.value.code)


def test_rows_are_nets_with_mean_and_spread_over_seeds(strides, tmp_path, capsys):
    report([str(strides), "--output", str(tmp_path / "out"), "--no-cost", "--paper"])
    shown = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    ours = [row for row in rows if not row["source"]]
    assert [row["skip_strides"] for row in ours] == ["[]", "[16,8]"]
    for row, folders in zip(ours, (("0", "1"), ("2", "3")), strict=True):
        values = [json.loads((strides / name / "metrics.json").read_text())["mIoU"] for name in folders]
        assert float(row["mIoU"]) == pytest.approx(np.mean(values))
        assert float(row["mIoU_deviation"]) == pytest.approx(np.std(values, ddof=1))
        assert row["seeds"] == "2"
        assert f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}" in shown
        assert row["frequency_weighted_IoU"] == ""
        assert float(row["mIoU_low"]) < float(row["mIoU"]) < float(row["mIoU_high"])
    assert "skip_strides [16,8] - skip_strides []" in shown
    known = {(row["net"], row["measured on"]): row for row in rows if row["source"]}
    assert known["FCN-8s", "VOC2011 seg11valid"]["mIoU"] == "0.627"
    assert "Tiramisu" not in shown
    latex = (tmp_path / "out" / "report.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    lines = [line for line in latex.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in lines} == {8}
    assert [line for line in lines if r"\textbf" in line] == [line for line in lines if line.startswith("{[16,8]}")]
    table = [line for line in (tmp_path / "out" / "report.md").read_text().splitlines() if line.startswith("|")]
    assert table[0].startswith("| skip_strides | seeds | mean IoU | 95 % |")
    assert (
        "| FCN-32s | - | 59.4 | - | 89.1 | 73.3 | 81.4 | VOC2011 seg11valid | Long et al., CVPR 2015, table 2 |"
        in table
    )


def test_an_ablation_says_what_each_run_changes(tmp_path, capsys):
    """Seven keys that differ, one in each run, are too many for columns."""
    for i in range(8):
        folder = write_run(tmp_path / f"{i}", [16, 8], 0, None, mIoU=0.1 * i)
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
        config["optimizer"] = {f"option{j}": 0.5 if i == j else [1, 2] for j in range(1, 8)}
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    report([str(tmp_path), "--no-cost", "--output", str(tmp_path / "out"), "--images", "0"])
    said = capsys.readouterr().out
    assert "settings: what differs from the commonest values, which are option1 [1,2], option2 [1,2]" in said
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    assert [row["settings"] for row in rows] == ["", *(f"option{i} 0.5" for i in range(1, 8))]
    assert [row["option3"] for row in rows] == [*["[1,2]"] * 3, "0.5", *["[1,2]"] * 4]
    assert [row["net"] for row in rows] == ["fcn8s, vgg16_fc", *(f"option{i} 0.5" for i in range(1, 8))]


def test_keys_are_told_apart_in_columns_of_their_own(tmp_path, capsys):
    for i, values in enumerate(((1, 1, "a"), (2, 1, "a"), (1, 2, "a"), (1, 1, "b"))):
        folder = write_run(tmp_path / f"{i}", [], 0, None, mIoU=0.1)
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
        config["optimizer"], config["loss"] = {"width": values[0]}, {"width": values[1]}
        config["data"]["images"] = values[2]
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    report([str(tmp_path), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    found = [(row["optimizer.width"], row["loss.width"], row["data.images"]) for row in rows]
    assert found == [("1", "1", "a"), ("2", "1", "a"), ("1", "2", "a"), ("1", "1", "b")]
    assert {(row["data set"], row["images"]) for row in rows} == {("voc", "40")}


def test_nets_that_start_from_other_nets(tmp_path, capsys, monkeypatch):
    """An FCN-16s from an FCN-32s, seed by seed, is one row; from another FCN-32s it is another."""
    for name, skips, seed in (("a0", [], 0), ("a1", [], 1), ("b0", [32], 0), ("c2", [], 2)):
        first = write_run(tmp_path / name, skips, seed, None, mIoU=0.1) / ".hydra" / "config.yaml"
        config = yaml.safe_load(first.read_text())
        config["model"]["encoder"] = {"weights": f"/data/{'other' if name == 'c2' else 'one'}/encoder.pth"}
        first.write_text(yaml.safe_dump(config))
        folder = write_run(tmp_path / f"from_{name}", [16], seed, None, mIoU=0.2 + 0.1 * seed)
        config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
        config["model"]["weights"] = f"{tmp_path}/{name}/checkpoints/best.ckpt"
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    report([str(tmp_path), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    rows = [row for row in csv.DictReader((tmp_path / "report.csv").open()) if row["skip_strides"] == "[16]"]
    assert [row["seeds"] for row in rows] == ["2", "1", "1"]
    assert "left out" not in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "from_a1")
    report([".", "--no-cost"])
    assert "30.0" in capsys.readouterr().out


def test_a_net_measured_on_data_in_two_places(strides, tmp_path, capsys):
    for place, figure in (("/a", 0.7), ("/b", 0.2)):
        folder = tmp_path / "runs" / f"at{place[1:]}"
        shutil.copytree(strides / "0", folder)
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({**metrics, "mIoU": figure, "root": place}))
        (folder / "per_image.npz").unlink()
    report([str(tmp_path / "runs"), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    found = {(row["root"], row["mIoU"]) for row in rows if row["root"]}
    assert found == {("/a", "0.7"), ("/b", "0.2")}
    assert "not comparable as they stand: the figures differ in root" in capsys.readouterr().out


def test_seeds_stay_together_where_one_was_measured_elsewhere_too(strides, tmp_path, capsys):
    """As when a folder grows, and an earlier checkpoint is evaluated on it."""
    for i in range(2):
        metrics = strides / f"{i}" / "metrics.json"
        metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "root": "/a"}))
    shutil.copytree(strides / "0", strides / "grown")
    metrics = json.loads((strides / "grown" / "metrics.json").read_text())
    (strides / "grown" / "metrics.json").write_text(json.dumps({**metrics, "root": "/grown"}))
    report([str(strides), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [(row["root"], row["seeds"]) for row in rows] == [("", "2"), ("", "2"), ("/grown", "1")]
    assert "null" not in capsys.readouterr().out


def test_figures_of_a_checkpoint_that_was_overwritten_are_refused(strides, capsys):
    for i in range(2):
        (strides / f"{i}" / "checkpoints").mkdir()
        checkpoint = strides / f"{i}" / "checkpoints" / "best.ckpt"
        checkpoint.write_bytes(b"a net")
        metrics = json.loads((strides / f"{i}" / "metrics.json").read_text())
        (strides / f"{i}" / "metrics.json").write_text(
            json.dumps({**metrics, "checkpoint_digest": checkpoint_digest(checkpoint)})
        )
    checkpoint.write_bytes(b"other")
    report([str(strides), "--no-cost"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "written anew" in line]
    assert line.startswith(f"  {strides}/1: the figures are of an earlier")


def test_other_files_are_no_further_seed(tmp_path, capsys):
    """Runs of one configuration on two data sets, or from two files of one name."""
    of = {"a": "/a", "moved": "/m/a", "b": "/b", "changed": "/b"}
    for i, (root, weights) in enumerate((("a", "x"), ("moved", "x"), ("b", "x"), ("a", "y"), ("changed", "x"))):
        folder = write_run(tmp_path / f"{i}", [16], i, None, mIoU=0.2 * (i + 1), root=of[root])
        config, choices = read_hydra_record(folder)
        config["model"]["weights"] = f"/home/{i}/{weights}/encoder.pth"
        data = {"train": f"hash of {root.replace('moved', 'a')}"}
        record = {"config": config, "choices": choices, "data": data}
        (folder / "provenance.json").write_text(json.dumps(record))
    report([str(tmp_path), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    found = [
        (row["root"].split()[0] if row["root"] else "", row["model.weights"], row["seeds"], f"{float(row['mIoU']):.1f}")
        for row in rows
    ]
    assert found == [
        ("/a", "x/encoder.pth", "2", "0.3"),
        ("/b", "x/encoder.pth", "1", "0.6"),
        ("", "y/encoder.pth", "1", "0.8"),
        ("/b", "x/encoder.pth", "1", "1.0"),
    ]
    assert "left out" not in capsys.readouterr().out


def test_intervals_against_a_slow_count():
    first, second = (
        [Counts(np.arange(30), counts(30, s, i)) for i in seeds] for s, seeds in ((0.9, (1, 2)), (0.7, (3,)))
    )
    found = difference(first, second, 4000)
    assert found is not None
    rng, samples = np.random.default_rng(5), []
    for _ in range(2000):
        drawn = rng.integers(0, 30, 30)
        means = []
        for nets in (first, second):
            scores = []
            for net in nets:
                hits, truth, predicted = (sum(net.pixels[i, kind] for i in drawn) for kind in range(3))
                scores.append(np.mean([h / (t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True)]))
            means.append(np.mean(scores))
        samples.append(means[0] - means[1])
    assert found[1:3] == pytest.approx(np.percentile(samples, [2.5, 97.5]), abs=0.2 * np.std(samples))
    # A is as good as A, for sure: each resample is the same one for both.
    assert difference(first, first, 200)[:3] == (0, 0, 0)


def test_only_images_in_common_with_equal_truth_are_compared():
    pixels = counts(10, 0.8)
    changed = pixels.copy()
    changed[3, 1, 0] += 1
    ids = np.array([f"{i}" for i in range(10)])
    order = np.random.default_rng(0).permutation(9)
    other = Counts(ids[order], changed[order])
    assert difference([Counts(ids, pixels)], [other], 50) == (0, 0, 0, 8)
    assert difference([Counts(ids, pixels)], [Counts(ids + "x", pixels)]) is None
    assert difference([Counts(ids[:1], pixels[:1])]) is None  # one image says nothing of others


def test_an_interval_holds_the_truth_as_often_as_it_says():
    population = counts(20_000, 0.8)
    true, rng = float(mean_iou(population.sum(0))), np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        drawn = population[rng.integers(0, len(population), 60)]
        found = difference([Counts(np.arange(60), drawn)], resamples=200)
        inside += found.low <= true <= found.high
    assert 0.88 <= inside / 200 <= 0.99


def test_what_cannot_be_compared_is_said(strides, tmp_path, capsys):
    write_run(strides / "4", [16, 8], 0, None, mIoU=0.9, images=5, protocol="flips, too")
    write_run(strides / "5", [16], 0, counts(40, 0.9), mIoU=0.1)
    write_run(strides / "6", [4], 0, counts(40, 0.9))
    write_run(strides / "7", [4], 0, counts(40, 0.8))
    write_run(strides / "8", [8], 0, None, mIoU=None)
    (strides / "1" / "per_image.npz").unlink()
    report([str(strides), "--no-cost", "--output", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "not comparable as they stand: the figures differ in images, protocol" in shown
    assert "protocol B: flips, too" in shown
    assert "5: no intervals, per_image.npz gives mIoU" in shown
    assert "7 is left out: there is a run of the same settings and seed" in shown
    table = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("|")]
    assert not any("**" in line for line in table)  # none is the best
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [bool(row["mIoU_low"]) for row in rows] == [False, True, False, False, True, False]
    assert "for want of a per_image.npz in each run: skip_strides [], " in shown
    assert "neither cost nor pictures" in shown


def test_broken_and_unfinished_runs_are_listed(strides, capsys):
    broken = ("{", "[]", "{}", '{"mIoU": 1, "per_class_IoU": 3}', '{"mIoU": "x", "per_class_IoU": {}}')
    for i, text in enumerate(broken):
        (strides / f"broken{i}").mkdir()
        (strides / f"broken{i}" / "metrics.json").write_text(text)
    write_job(strides / "failed", "failed", signal="SIGKILL", error="out of\nmemory")
    write_job(strides / "running", "running")
    write_job(strides / "odd", "done", unknown=1)
    (strides / "stopped" / "checkpoints").mkdir(parents=True)
    (strides / "stopped" / "checkpoints" / "last.ckpt").touch()
    (strides / "2" / "per_image.npz").write_bytes(b"PK\x03\x04 and no more")
    (strides / "3" / ".hydra" / "hydra.yaml").write_text("{a: [")
    report([str(strides), "--no-cost"])
    lines = capsys.readouterr().out.splitlines()
    below = lines[lines.index("without figures:") + 1 :]
    assert len(below) == len(broken) + 4
    assert any(line.endswith("failed: failed (seed=7): SIGKILL: out of memory") for line in below)
    assert any("not finished (seed=7), begun 2026" in line for line in below)
    assert any("2: no intervals, per_image.npz is damaged" in line for line in lines)


@pytest.mark.parametrize(("text", "said"), [("[1]", "has no configuration"), ("{}", "has no"), ("{", "is damaged: ")])
def test_a_training_whose_record_cannot_be_read_is_one_line(strides, capsys, text, said):
    (strides / "0" / "provenance.json").write_text(text)
    report([str(strides), "--no-cost"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = lines[lines.index("without figures:") + 1 :]
    assert said in line


def test_nothing_to_report(tmp_path, capsys):
    assert "no run with figures below" in fails(capsys, tmp_path)
    assert "is no folder" in fails(capsys, tmp_path / "none")
    write_job(tmp_path / "a", "failed", exit_code=1)
    assert "no run with figures below" in fails(capsys, tmp_path)
    (tmp_path / "file").touch()
    assert "expected a folder" in fails(capsys, tmp_path, "--output", tmp_path / "file")
    assert fails(capsys, tmp_path, "--size", "12") == "2"


def test_a_run_alone_and_data_sets_apart(strides, tmp_path, capsys):
    report([str(strides / "0"), "--no-cost"])
    assert "fcn8s, vgg16_fc" in capsys.readouterr().out
    other = write_run(tmp_path / "other", [], 0, counts(40, 0.7))
    text = (other / ".hydra" / "config.yaml").read_text()
    (other / ".hydra" / "config.yaml").write_text(text.replace("voc.VOC", "camvid.CamVid"))
    report([str(strides), str(other), "--no-cost", "--paper"])
    shown = capsys.readouterr().out
    assert "voc, val split" in shown
    assert "camvid, val split" in shown
    assert shown.index("FCN-16s") < shown.index("camvid, val") < shown.index("FC-DenseNet103")


def test_folders_with_other_classes_are_told_apart(strides, tmp_path, capsys):
    write_run(tmp_path / "other", [], 0, None, mIoU=0.3, per_class_IoU={"sky": 0.2, "tree": 0.4})
    report([str(strides), str(tmp_path / "other"), "--no-cost", "--output", str(tmp_path)])
    shown = capsys.readouterr().out
    for title in ("voc (3 classes: background, cat, dog)", "voc (2 classes: sky, tree)"):
        assert f"{title}, val split" in shown
        assert title in {row["data set"] for row in csv.DictReader((tmp_path / "report.csv").open())}


def test_help_does_not_wait_for_torch():
    code = "import sys, segment.report; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def write_checkpoint(folder: Path, skips: str) -> None:
    config = load_config([*SMALL, f"model.decoder.skip_strides={skips}", "data.val_size=5"])
    net = instantiate(config.model, num_classes=len(SHAPES))
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    (folder / "checkpoints").mkdir()
    card = make_card(plain(config.model), plain(config.data), SHAPES)
    torch.save({"segment": card, "state_dict": state}, folder / "checkpoints" / "best.ckpt")


def test_nets_are_measured_and_shown(tmp_path, capsys):
    for i, skips in enumerate(([], [16, 8])):
        folder = write_run(tmp_path / "runs" / f"{i}", skips, 0, None, mIoU=0.1 + i / 10)
        write_checkpoint(folder, str(skips).replace(" ", ""))
    shutil.copytree(tmp_path / "runs" / "1", tmp_path / "runs" / "2", ignore=lambda *_: ["checkpoints"])
    out = tmp_path / "a new" / "folder"
    report([str(tmp_path / "runs"), "--output", str(out), "--size", "64x96", "--images", "2"])
    shown = capsys.readouterr().out
    files = {"report.md", "report.csv", "report.tex", "cost.png", "cost.pdf", "pictures.png"}
    assert {path.name for path in out.iterdir()} == files
    rows = list(csv.DictReader((out / "report.csv").open()))
    assert int(rows[1]["parameters"]) > int(rows[0]["parameters"]) > 100_000
    assert all(float(row["seconds"]) > 0 and int(row["memory"]) > 4 * int(row["parameters"]) for row in rows)
    assert "one image of 96x64 (width x height)" in shown
    assert "2 measures again what another run has" in shown
    assert Image.open(out / "pictures.png").width == 4 * 2.0 * 200
    assert (out / "cost.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_trained_and_evaluated_nets(main, tmp_path, capsys):
    words = [*SMALL, "data.train_size=4", "data.val_size=5", "data.crop_size=[64,64]", "trainer.max_epochs=1"]
    for i, skips in enumerate(("[]", "[16,8]")):
        main("train", *words, f"model.decoder.skip_strides={skips}", f"hydra.run.dir={tmp_path}/runs/{i}")
    checkpoint = f"checkpoint={tmp_path}/runs/1/checkpoints/best.ckpt"
    for i, words in enumerate(((), ("split=test", "data.test_size=3"), ("inference.flip=true",))):
        main("evaluate", checkpoint, *words, f"hydra.run.dir={tmp_path}/runs/evaluation{i}")
    capsys.readouterr()
    report([str(tmp_path / "runs"), "--no-cost", "--output", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [row["skip_strides"] for row in rows] == ["[]", "[16,8]", "[16,8]", "[16,8]"]
    assert [row["split"] for row in rows] == ["val", "val", "test", "val"]
    assert all(row["mIoU_low"] for row in rows)
    shown = capsys.readouterr().out
    assert "evaluation0 measures again what another run has" in shown
    assert "differ in split, images, protocol" in shown
    assert shown.count("not compared, fewer than two images with equal truth in common") == 3
    assert (tmp_path / "pictures.png").is_file()


def test_labels_of_twenty_nets_do_not_overlap():
    rng = np.random.default_rng(0)
    points = [Point(f"model{i}, resnet{i}", *rng.uniform([20, 40], [200, 60]), 1.0) for i in range(20)]
    figure = against_cost(points, "forward pass, ms", "mean IoU, per cent")
    boxes = place_labels(figure.axes[0], points)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_text_for_latex():
    assert tex("a_b & 5 % ± 1") == r"a\_b \& 5 \% $\pm$ 1"
    assert tex("[16,8]") == "{[16,8]}"  # \\[16,8] would be the space below a row
