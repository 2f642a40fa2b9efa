"""What a run leaves behind: metrics.json, pictures, and the table a user reads."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from rich.console import Console

from segment.data.classes import Classes
from segment.data.datamodule import SegmentationDataModule, count_shared
from segment.data.dataset import SegmentationDataset
from segment.display.metrics_table import percent, table
from segment.display.pictures import BACKGROUND, comparison, confusion_matrix, curves, save
from segment.errors import SegmentError
from segment.evaluation.intervals import interval, mean_iou
from segment.evaluation.metrics import or_none
from segment.files import checkpoint_digest, whole_file
from segment.training.module import SegmentationModule

PROTOCOL = "one image at a time at original resolution, one confusion matrix, label 255 ignored"
PICTURES = 8
RESAMPLES = 1000
"""Of the images, for the interval of mIoU."""


def evaluate(
    trainer: L.Trainer,
    module: SegmentationModule,
    data: SegmentationDataModule,
    split: str,
    checkpoint: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate the module's net on a split, on all processes of the trainer.

    Returns:
        What ``metrics.json`` holds: the figures, class by class too, and how they came about.

    Raises:
        SegmentError: the trainer leaves out all of it.
    """
    data.trainer = trainer
    source = {"checkpoint": str(checkpoint.absolute()), "checkpoint_digest": checkpoint_digest(checkpoint)}
    trainer.validate(module, data.eval_dataloader(split), verbose=False)
    module.to(trainer.strategy.root_device)  # Lightning puts it on the CPU; pictures are yet to be made
    if not module.figures:
        raise SegmentError(f"nothing was evaluated: the split {split} or trainer.limit_val_batches leaves no image")
    names = module.classes.names
    figures = dict(module.figures)
    figures["per_class_IoU"] = dict(zip(names, figures["per_class_IoU"], strict=True))
    if resamples and len(module.counts) > 1:  # one image says nothing of others
        figures["mIoU_interval"] = interval(module.counts, resamples, seed)
    figures |= mean_of_some(figures["per_class_IoU"], module.classes)
    if "boundary" in figures:
        per_class = figures["boundary"].pop("per_class_boundary_IoU")
        figures["boundary"] |= {"per_class_boundary_IoU": dict(zip(names, per_class, strict=True))}
    # limit_val_batches leaves images out, and a reader of the file must see it.
    origin = {
        **data.location(),
        "split": split,
        "images": len(module.counts),
        "images_trained_on": trained_on(module.card, data.fingerprints(data.dataset(split))[: len(module.counts)]),
        "precision": str(trainer.precision),
    }
    protocol = f"{module.inference.describe()}; {PROTOCOL}"
    return {**figures, **origin, "protocol": protocol, **source}


def trained_on(card: Mapping[str, Any], images: Iterable[Iterable[str]]) -> int | None:
    """How many images, by their fingerprints, a checkpoint's net was trained on; None if its card does not say."""
    if not isinstance(card.get("images"), list) or not card["images"]:  # empty: another rank than 0 wrote it
        return None
    return count_shared(images, map(str, card["images"]))


def mean_of_some(per_class: Mapping[str, float | None], classes: Classes) -> dict[str, float | None]:
    """mIoU without the background, of things and of stuff; each where the data set has or tells them."""
    groups = {}
    if BACKGROUND in per_class and len(per_class) > 1:
        groups["mIoU_without_background"] = per_class.keys() - {BACKGROUND}
    if classes.stuff:
        groups["mIoU_things"] = per_class.keys() - classes.stuff - {BACKGROUND}
        groups["mIoU_stuff"] = per_class.keys() & classes.stuff
    known = {key: [v for k, v in per_class.items() if k in names and v is not None] for key, names in groups.items()}
    return {key: sum(values) / len(values) if values else None for key, values in known.items()}


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Write JSON in one move: whoever finds the file finds all of it. NaN becomes null."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [clean(part) for part in value]
        return or_none(value) if isinstance(value, float) else value

    with whole_file(path) as file:
        file.write(json.dumps(clean(metrics), indent=2, allow_nan=False) + "\n")


def write_counts(module: SegmentationModule, dataset: SegmentationDataset, folder: Path) -> None:
    """What was counted: ``per_image.npz`` by image and class, ``confusion.csv`` the matrix, true classes by rows.

    ``per_image.npz`` has ``ids`` (N,) and ``names`` (C,), and as int64 (N,C) the pixels ``hits``, ``truth`` and
    ``predicted``; the images in the data set's order.
    """
    with whole_file(folder / "per_image.npz", "wb") as file:
        np.savez_compressed(
            file,
            ids=np.array([dataset.id(i) for i in range(len(module.counts))]),
            names=np.array(module.classes.names),
            hits=module.counts[:, 0],
            truth=module.counts[:, 1],
            predicted=module.counts[:, 2],
        )
    with whole_file(folder / "confusion.csv", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["true \\ predicted", *module.classes.names])
        for name, row in zip(module.classes.names, module.confusion, strict=True):
            rows.writerow([name, *row])


class Comparison(NamedTuple):
    """An image uint8 (H,W,3) with the true and the predicted class indices (H,W)."""

    id: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def spread(length: int, count: int = PICTURES) -> list[int]:
    """Indices of ``count`` images spread evenly over a data set."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).astype(int)).tolist()


def extremes(counts: np.ndarray, dataset: SegmentationDataset, count: int = PICTURES) -> dict[str, int]:
    """The images with the lowest and those with the highest mIoU of their own, as file names and indices.

    Args:
        counts: (N,3,C), see :attr:`segment.training.module.SegmentationModule.counts`.
    """
    own = mean_iou(counts)
    order = [int(i) for i in np.argsort(own, kind="stable") if not np.isnan(own[i])]
    half = min(count // 2, (len(order) + 1) // 2)
    groups = {"worst": order[:half], "best": order[half:][::-1][: count // 2]}
    return {f"{word}_{rank}_{dataset.id(i)}": i for word, found in groups.items() for rank, i in enumerate(found, 1)}


def pictures(module: SegmentationModule, dataset: SegmentationDataset, indices: Iterable[int]) -> list[Comparison]:
    """Predictions for some images of a data set; the net's mode stays as it was."""
    training = module.net.training
    module.net.eval()
    result = []
    for index in indices:
        item = dataset[index]
        prediction = module.inference.class_map(module.net, item["image"]).cpu().numpy()
        result.append(Comparison(item["id"], item["image"].permute(1, 2, 0).numpy(), item["mask"].numpy(), prediction))
    module.net.train(training)
    return result


def clear(folder: Path) -> None:
    """Take away an earlier run's figures and pictures: they are not of what begins in this folder."""
    for old in (folder / "metrics.json", *(folder / "predictions").glob("*.png")):
        old.unlink(missing_ok=True)


def report(
    metrics: dict[str, Any],
    module: SegmentationModule,
    dataset: SegmentationDataset,
    folder: Path,
    shown: Mapping[str, int] | None = None,
) -> None:
    """Write metrics.json, the counts and the pictures into ``folder`` and show the table.

    Args:
        shown: names and indices of the images that ``predictions/`` shows; None for some, spread evenly.
    """
    shown = {dataset.id(i): i for i in spread(len(module.counts))} if shown is None else shown
    (folder / "predictions").mkdir(exist_ok=True)
    for (name, index), picture in zip(shown.items(), pictures(module, dataset, shown.values()), strict=True):
        title = f"{picture.id}, mean IoU {percent(float(mean_iou(module.counts[index])))} %"
        figure = comparison(picture.image, picture.truth, picture.prediction, module.classes, title)
        save(figure, folder / "predictions" / f"{name}.png")
    save(confusion_matrix(module.confusion, module.classes.names), folder / "confusion.png")
    if (folder / "metrics.csv").is_file():
        save(curves(folder / "metrics.csv"), folder / "curves.png")
    write_counts(module, dataset, folder)
    write_metrics(metrics, folder / "metrics.json")
    # Piped into a file, rich would fold lines at 80 columns, also the paths that a user wants to copy.
    console = Console(soft_wrap=True, highlight=False)
    console.print(table(metrics))
