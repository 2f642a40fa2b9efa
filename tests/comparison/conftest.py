"""Run folders made by hand, with the files that a report reads."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from segment.evaluation.intervals import mean_iou
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.records.per_image import ImageCounts, write_image_counts
from segment.report import main

NAMES = ("background", "cat", "dog")


def random_pixels(images: int, skill: float, seed: int = 0) -> np.ndarray:
    """Return correct, true and predicted pixels (N,3,C): the truth is always the same, more skill has more hits."""
    truth = np.random.default_rng(99).integers(0, 1000, (images, len(NAMES)))
    hits = (truth * np.random.default_rng(seed).uniform(skill - 0.2, skill, truth.shape)).astype(int)
    return np.stack([hits, truth, hits + np.roll(truth - hits, 1, axis=1)], axis=1)


def write_run(path: Path, config: dict[str, Any], pixels: np.ndarray | None = None, **metrics: Any) -> RunFolder:
    """Write the folder of a training.

    Args:
        config: dotted keys that differ from the defaults below.
        pixels: counts for per_image.npz and the mIoU.
        metrics: further keys of metrics.json.
    """
    folder = RunFolder(path)
    folder.hydra.mkdir(parents=True)
    if pixels is not None:
        ids = np.array([f"{i:03d}" for i in range(len(pixels))])
        write_image_counts(ImageCounts(ids, pixels, NAMES), folder.per_image)
        metrics = {"mIoU": float(mean_iou(pixels.sum(0)))} | metrics
    known = {"pixel_accuracy": 0.5, "mean_accuracy": 0.25, "frequency_weighted_IoU": None, "data": "voc"}
    known |= {"per_class_IoU": dict.fromkeys(NAMES, 0.1), "split": "val", "images": 40, "precision": "32-true"}
    known |= {"protocol": "single scale, whole images; whole split", "files": "1234", "root": str(path)}
    known |= {"checkpoint": str(folder.best_checkpoint)}
    folder.metrics.write_text(json.dumps(known | metrics))
    nested: dict[str, Any] = {"checkpoint": {"every_n_steps": None}}
    keys = {
        "seed": 0,
        "data.root": str(path),
        "data.seed": "${seed}",
        "model._target_": "segment.models.SegmentationNet",
    }
    for key, value in (keys | config).items():
        *parts, last = key.split(".")
        table = nested
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = value
    (folder.hydra / "config.yaml").write_text(yaml.safe_dump(nested))
    choices = {"hydra": {"runtime": {"choices": {"model": "fcn8s", "model/encoder": "vgg16_fc", "data": "voc"}}}}
    (folder.hydra / "hydra.yaml").write_text(yaml.safe_dump(choices))
    return folder


def write_job(path: Path, state: str, **entries: Any) -> None:
    path.mkdir(parents=True, exist_ok=True)
    JobRecord(["seed=7"], state, started="2026-01-01T00:00:00", **entries).write(RunFolder(path).job_status)


def write_strides(path: Path) -> Path:
    """Write four runs below a folder: two nets, FCN-32s and FCN-8s, with two seeds each."""
    for i, (skips, skill) in enumerate((([], 0.5), ([], 0.55), ([16, 8], 0.8), ([16, 8], 0.9))):
        write_run(path / f"{i}", {"model.decoder.skip_strides": skips, "seed": i % 2}, random_pixels(40, skill, i))
    return path


@pytest.fixture
def strides(tmp_path: Path) -> Path:
    return write_strides(tmp_path / "runs")


def change_metrics(folder: Path, **values: Any) -> None:
    path = RunFolder(folder).metrics
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def read_report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, list[dict[str, str]]]]:
    """Make a report on folders, without costs and pictures: its text on the terminal, and the rows of report.csv."""

    def make(*folders: Path) -> tuple[str, list[dict[str, str]]]:
        output = tmp_path / "report"
        main([*map(str, folders), "--output", str(output), "--no-cost", "--images", "0"])
        return capsys.readouterr().out, read_report(output)

    return make
