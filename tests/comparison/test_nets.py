"""Nets of the runs: their costs, and their predictions in one picture."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from segment.cli.build import instantiate
from segment.cli.config import load_config, plain
from segment.comparison import nets
from segment.comparison.find import find_runs
from segment.comparison.run import read_run
from segment.comparison.sections import build_sections
from segment.comparison.tables import section_grids
from segment.data.datasets.shapes import SHAPES
from segment.errors import SegmentError
from segment.models.costs.measured import MeasuredCost
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import make_metadata
from segment.report import main as report
from tests.comparison.conftest import change_metrics, read_report, write_run
from tests.conftest import SMALL


def write_trained(path: Path, skips: list[int], **metrics) -> None:
    """Write a run with a checkpoint of a net that was not trained."""
    folder = write_run(path, {"model.decoder.skip_strides": skips}, data="shapes", **metrics)
    config = load_config([*SMALL, f"model.decoder.skip_strides={json.dumps(skips)}", "data.val_size=5"])
    net = instantiate(config.model, num_classes=len(SHAPES))
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    metadata = make_metadata(plain(config.model), plain(config.data), SHAPES)
    folder.checkpoints.mkdir()
    torch.save({METADATA: metadata, "state_dict": state}, folder.best_checkpoint)


@pytest.fixture
def trained(tmp_path) -> Path:
    """Two runs, and a third folder that repeats the second one's evaluation."""
    for i, skips in enumerate(([], [16, 8])):
        write_trained(tmp_path / "runs" / f"{i}", skips, mIoU=0.1 + i / 10)
    shutil.copytree(tmp_path / "runs" / "1", tmp_path / "runs" / "2", ignore=lambda *_: ["checkpoints"])
    return tmp_path / "runs"


@pytest.mark.slow
def test_nets_are_measured_and_shown(trained, tmp_path, capsys):
    out = tmp_path / "a new" / "folder"
    report([str(trained), "--output", str(out), "--size", "64x96", "--images", "2"])
    text, rows = capsys.readouterr().out, read_report(out)
    names = {"report.md", "report.csv", "report.tex", "cost.png", "cost.pdf", "pictures.png"}
    assert {path.name for path in out.iterdir()} == names
    assert int(rows[1]["parameters"]) > int(rows[0]["parameters"]) > 100_000
    assert all(float(row["seconds"]) > 0 and int(row["memory"]) > 4 * int(row["parameters"]) for row in rows)
    assert "ms an image: 96x64 (width x height)" in text
    assert "2 repeats the evaluation of another run: left out" in text
    assert Image.open(out / "pictures.png").width == 4 * 2.0 * 200
    assert (out / "cost.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_net_that_cannot_be_loaded_is_a_note(trained, tmp_path):
    (trained / "0" / "checkpoints" / "best.ckpt").write_bytes(b"no net")
    [section] = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures([section], (64, 64), tmp_path, 1)
    [note] = [note for note in section.notes if "neither cost nor pictures" in note]
    assert note.startswith("FCN-32s: neither cost nor pictures, ")
    assert section.groups[0].cost is None
    assert section_grids(section)[0].rows[0][-3:] == ["-"] * 3
    assert section.groups[1].cost is not None


def test_data_that_is_gone_is_a_note(trained, tmp_path):
    for folder in trained.iterdir():
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(metrics | {"split": "gone"}))
    [section] = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures([section], None, tmp_path, 1)
    assert section.notes[-1].startswith("no pictures: shapes has the splits train, val, test")
    assert [group.cost for group in section.groups] == [None, None]


def test_the_picture_shows_the_best_groups(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(nets, "PICTURED", 1)
    [section] = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures([section], None, tmp_path, 1)
    assert section.notes[-1] == "pictures.png shows 1 of 2 nets, the best ones on the same files"
    assert Image.open(tmp_path / "pictures.png").width == 3 * 2.0 * 200


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        ({"scales": [1000.0]}, "takes 1000000 times as long"),
        ({"window": [1, 1]}, "takes 4096 times as long"),
        ({"scales": "x"}, "is damaged"),
        ({"unknown": 1}, "is damaged"),
        ([1], "is damaged"),
    ],
)
def test_a_protocol_of_a_stranger_is_repeated_within_bounds(tmp_path, inference, message):
    run = read_run(write_run(tmp_path / "a", {}, mIoU=0.1))
    run.inference = inference
    with contextlib.suppress(TypeError, SegmentError):
        run.metrics["protocol"] = nets.Inference(**inference).describe()
    with pytest.raises(SegmentError, match=message):
        nets.run_inference(run)


def test_the_picture_shows_nets_that_were_evaluated_on_the_same_files(trained, tmp_path):
    change_metrics(trained / "0", files="other")
    [section] = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures([section], None, tmp_path, 1)
    assert section.notes[-1] == "pictures.png shows 1 of 2 nets, the best ones on the same files"
    assert Image.open(tmp_path / "pictures.png").width == 3 * 2.0 * 200


@pytest.mark.slow
def test_a_net_that_stands_in_several_rows_is_measured_once(trained, monkeypatch, tmp_path):
    """Evaluations of one checkpoint, on one and on another data set, have one cost; a second net has its own."""
    numbers = []

    def measure(found, *size):
        numbers.append(len(found))
        return [MeasuredCost(i, 1.0, 1) for i in range(len(found))], ""

    monkeypatch.setattr(nets, "measure_costs", measure)
    (trained / "2" / "checkpoints").symlink_to(trained / "1" / "checkpoints")
    change_metrics(trained / "2", split="test")
    shutil.copytree(trained / "1", trained / "3", symlinks=True)
    change_metrics(trained / "3", data="../a/b")
    sections = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures(sections, (64, 64), tmp_path, 0)
    assert numbers == [2]
    assert [[group.cost.parameters for group in section.groups] for section in sections] == [[0, 1], [1], [1]]
    names = {"cost_shapes_val_1", "cost_shapes_test_2", "cost_..-a-b_val_3"}
    assert {path.stem for path in tmp_path.glob("cost*")} == names


@pytest.mark.slow
def test_costs_and_pictures_are_by_the_protocol_of_the_run(trained, monkeypatch, tmp_path):
    """An evaluation with flipped images is measured and shown so; one whose record contradicts it is a note."""
    evaluated = {"checkpoint": str(trained / "1/checkpoints/best.ckpt"), "inference.flip": True}
    flipped = "single scale, whole images, flipped; whole split"
    known = {"data": "shapes", "checkpoint": evaluated["checkpoint"]}
    write_run(trained / "3", evaluated, mIoU=0.3, protocol=flipped, **known)
    write_run(trained / "4", {**evaluated, "inference.flip": False}, mIoU=0.4, protocol=flipped, images=4, **known)
    used = []
    monkeypatch.setattr(
        nets.Inference, "class_map", lambda self, net, image: used.append(self.flip) or net.predict(image[None])[0]
    )
    monkeypatch.setattr(nets, "show_predictions", lambda section, found, *_: used.append(sorted(found)))
    [section] = build_sections(find_runs([trained])[0], paper=False)
    nets.add_costs_and_pictures([section], (64, 64), tmp_path, 1)
    assert used[:3] == [False, False, True]  # of the two trainings, and of the flipped evaluation
    assert used[-1] == [0, 1, 2]
    [note] = [note for note in section.notes if "neither cost" in note]
    assert (
        "its .hydra/config.yaml does not give the protocol of metrics.json (single scale, whole images, flipped)"
        in note
    )


def test_one_net_that_cannot_be_measured_is_a_note(trained, monkeypatch, tmp_path):
    [section] = build_sections(find_runs([trained])[0], paper=False)
    monkeypatch.setattr(nets, "measure_costs", lambda found, *_: ([MeasuredCost(1, 1.0, 1), "too large"], "measured"))
    nets.measure_nets([section], nets.NetLoader(), (64, 64))
    assert [group.cost is None for group in section.groups] == [False, True]
    assert section.notes[-2:] == [f"{section.groups[1].label}: no cost, too large", "measured"]


def test_costs_and_plots_that_fail_are_notes(trained, monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("not enough\nmemory")

    [section] = build_sections(find_runs([trained])[0], paper=False)
    monkeypatch.setattr(nets, "measure_costs", fail)
    monkeypatch.setattr(nets, "plot_costs", fail)
    nets.add_costs_and_pictures([section], (64, 64), tmp_path, 0)
    assert section.notes[-2:] == ["no costs: not enough memory", "no plot of the costs: not enough memory"]
