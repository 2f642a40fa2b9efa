"""What a run leaves behind: metrics.json, pictures, and the table a user reads."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from rich.console import Console
from rich.table import Table

from segment.data.classes import Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import SegmentationDataset
from segment.models.net import SegmentationNet
from segment.module import SegmentationModule
from segment.visualize import comparison, curves, save

PROTOCOL = "single scale, whole images one at a time at original resolution, one confusion matrix, label 255 ignored"
PICTURES = 8


def evaluate(
    trainer: L.Trainer, module: SegmentationModule, data: SegmentationDataModule, split: str, checkpoint: Path
) -> dict[str, Any]:
    """Evaluate the module's net on a split, on all processes of the trainer.

    Returns:
        What ``metrics.json`` holds: the figures, class by class too, and how they came about.
    """
    data.trainer = trainer
    trainer.validate(module, data.eval_dataloader(split), verbose=False)
    figures = dict(module.figures)
    figures["per_class_IoU"] = dict(zip(module.classes.names, figures["per_class_IoU"], strict=True))
    # limit_val_batches leaves images out, and a reader of the file must see it.
    images = min(len(data.dataset(split)), sum(trainer.num_val_batches) * trainer.world_size)
    origin = {"split": split, "images": images, "precision": str(trainer.precision), "protocol": PROTOCOL}
    return {**figures, **origin, "checkpoint": str(checkpoint.absolute())}


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Write JSON in one move: whoever finds the file finds all of it. NaN becomes null."""
    clean = {k: None if isinstance(v, float) and v != v else v for k, v in metrics.items()}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(clean, indent=2, allow_nan=False) + "\n")
    os.replace(part, path)


class Comparison(NamedTuple):
    """An image uint8 (H,W,3) with the true and the predicted class indices (H,W)."""

    id: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def pictures(net: SegmentationNet, dataset: SegmentationDataset, count: int = PICTURES) -> list[Comparison]:
    """Predictions for ``count`` images spread evenly over a data set; the net's mode stays as it was."""
    training = net.training
    net.eval()
    result = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)):
        item = dataset[int(index)]
        prediction = net.predict(item["image"][None])[0].cpu().numpy()
        result.append(Comparison(item["id"], item["image"].permute(1, 2, 0).numpy(), item["mask"].numpy(), prediction))
    net.train(training)
    return result


def table(metrics: dict[str, Any], classes: Classes) -> Table:
    """Per-class IoU with bars, and the four figures of the FCN paper below, in per cent."""
    result = Table(title=f"IoU on the {metrics['split']} split, per cent", title_justify="left")
    result.add_column("class")
    result.add_column("IoU", justify="right")
    result.add_column("", min_width=20)
    for name, value in metrics["per_class_IoU"].items():
        shown = ("-", "[dim]absent") if value is None else (f"{100 * value:.1f}", "█" * round(20 * value))
        result.add_row(name, *shown)
    result.add_section()
    for key, name in (
        ("mIoU", "mean IoU"),
        ("pixel_accuracy", "pixel accuracy"),
        ("mean_accuracy", "mean accuracy"),
        ("frequency_weighted_IoU", "frequency weighted IoU"),
    ):
        value = metrics[key]
        result.add_row(f"[bold]{name}", "-" if value is None or value != value else f"[bold]{100 * value:.1f}")
    return result


def report(
    metrics: dict[str, Any],
    module: SegmentationModule,
    dataset: SegmentationDataset,
    folder: Path,
) -> None:
    """Write metrics.json and the pictures into ``folder`` and show the table."""
    (folder / "predictions").mkdir(exist_ok=True)
    for picture in pictures(module.net, dataset):
        figure = comparison(picture.image, picture.truth, picture.prediction, module.classes, picture.id)
        save(figure, folder / "predictions" / f"{picture.id}.png")
    if (folder / "metrics.csv").is_file():
        save(curves(folder / "metrics.csv"), folder / "curves.png")
    write_metrics(metrics, folder / "metrics.json")
    # Piped into a file, rich would fold lines at 80 columns, also the paths that a user wants to copy.
    console = Console(soft_wrap=True, highlight=False)
    console.print(table(metrics, module.classes))
