"""The files and the table of an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from segment.data.classes import BACKGROUND, Classes
from segment.data.datamodule import SegmentationDataModule, count_shared
from segment.data.dataset import SegmentationDataset
from segment.display.figures import example_figure, save_figure
from segment.display.metrics_table import evaluation_table, percent
from segment.display.plots import confusion_matrix, reliability_diagram, training_curves
from segment.evaluation.evaluator import Evaluation
from segment.evaluation.examples import Example
from segment.evaluation.intervals import mean_iou, miou_interval
from segment.evaluation.predictions import PredictedMasks
from segment.files import checkpoint_digest
from segment.prediction.inference import Inference
from segment.records.folder import RunFolder
from segment.records.hub import hub_address
from segment.records.metrics_csv import read_rows
from segment.records.metrics_json import write_metrics
from segment.records.per_image import ImageCounts, write_confusion, write_image_counts

PROTOCOL = "one image at a time at original resolution, one confusion matrix, label 255 ignored"


def all_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics of an evaluation by name and by class name, with the interval of mIoU."""
    names = evaluation.classes.names
    metrics = {key: _by_class(key, value, names) for key, value in evaluation.metrics.items()}
    interval = miou_interval([evaluation.counts], groups=evaluation.groups)
    metrics["mIoU_interval"] = [interval.low, interval.high] if interval.exists else None
    metrics["mIoU_interval_images"] = interval.images
    metrics["mIoU_interval_groups"] = None if evaluation.groups is None else interval.groups
    metrics["mIoU_interval_rare_classes"] = interval.rare_classes
    metrics["mIoU_interval_covers"] = interval.describe()
    metrics["mIoU_interval_note"] = interval.note
    metrics |= mean_over_groups(metrics["per_class_IoU"], evaluation.classes)
    return metrics


def _by_class(key: str, value: Any, names: Sequence[str]) -> Any:
    """Return a metric with the values of classes by class name."""
    if isinstance(value, Mapping):
        return {name: _by_class(name, part, names) for name, part in value.items()}
    return dict(zip(names, value, strict=True)) if key.startswith("per_class_") else value


def describe_data(data: SegmentationDataModule, split: str, images: int) -> dict[str, Any]:
    """Return the data of an evaluation, as ``metrics.json`` records them.

    Args:
        images: number of images that were evaluated; ``trainer.limit_val_batches`` leaves the others out.
    """
    files = data.dataset(split).listing_hash()
    found = {"data": data.name, **data.location(), "files": files, "split": split, "images": images}
    return found | data.describe_folds(split)


def describe_source(
    data: SegmentationDataModule,
    split: str,
    inference: Inference,
    metadata: Mapping[str, Any],
    checkpoint: Path,
    images: int,
    precision: str,
) -> dict[str, Any]:
    """Return the data, the protocol and the net of an evaluation, as ``metrics.json`` records them.

    Args:
        metadata: metadata of the checkpoint.
        images: see :func:`describe_data`.
        precision: precision of the trainer.
    """
    return {
        **describe_data(data, split, images),
        "images_trained_on": count_trained_on(metadata, data.fingerprints(data.dataset(split))[:images]),
        "precision": precision,
        "protocol": f"{inference.describe()}; {PROTOCOL}",
        "checkpoint": hub_address(checkpoint) or str(checkpoint.absolute()),
        "checkpoint_digest": checkpoint_digest(checkpoint),
    }


def describe_predictions(
    data: SegmentationDataModule, split: str, masks: PredictedMasks, images: int
) -> dict[str, Any]:
    """Return the data and the files of an evaluation of predictions, as ``metrics.json`` records them."""
    return {
        **describe_data(data, split, images),
        "protocol": f"{masks.describe()}; {PROTOCOL}",
        "predictions": str(masks.folder.absolute()),
    }


def count_trained_on(metadata: Mapping[str, Any], images: Iterable[Iterable[str]]) -> int | None:
    """Return the number of images, given by their fingerprints, that a net was trained on; None if unknown."""
    fingerprints = metadata.get("images")
    if not isinstance(fingerprints, list) or not fingerprints:  # only rank 0 has them
        return None
    return count_shared(images, map(str, fingerprints))


def mean_over_groups(per_class: Mapping[str, float | None], classes: Classes) -> dict[str, float | None]:
    """Return the mIoU without the background, of things and of stuff, if the data set has these groups."""
    groups = {}
    if BACKGROUND in per_class and len(per_class) > 1:
        groups["mIoU_without_background"] = per_class.keys() - {BACKGROUND}
    if classes.stuff:
        groups["mIoU_things"] = per_class.keys() - classes.stuff - {BACKGROUND}
        groups["mIoU_stuff"] = per_class.keys() & classes.stuff
    values = {key: [v for k, v in per_class.items() if k in names and v is not None] for key, names in groups.items()}
    return {key: sum(group) / len(group) if group else None for key, group in values.items()}


def result_notes(evaluation: Evaluation, of_net: bool = True) -> list[str]:
    """Return notes for a reader of the metrics: nothing was counted, or a single class is predicted.

    Args:
        of_net: whether a net predicted, which could be trained further.
    """
    if not evaluation.confusion.any():
        return ["no pixel of the split is labelled, so that it has no mIoU; see segment.check"]
    predicted = np.flatnonzero(evaluation.confusion.sum(0))
    true = np.flatnonzero(evaluation.confusion.sum(1))
    if len(true) == 1:
        only = evaluation.classes.names[true[0]]
        return [f"all labelled pixels of the split are {only!r}, so its scores say little; see segment.check"]
    if len(predicted) == 1:
        name = evaluation.classes.names[predicted[0]]
        if not of_net:
            return [f"the predictions have {name!r} for every pixel"]
        return [
            f"the net predicts {name!r} for every pixel: train longer, try another optimizer.lr or loss=sum, and look "
            "at the masks with segment.check"
        ]
    return []


def write_results(
    metrics: Mapping[str, Any],
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    examples: Mapping[str, Example],
    folder: RunFolder,
) -> None:
    """Write ``metrics.json``, counts, plots and example pictures into a folder, and print the table.

    Args:
        metrics: the content of ``metrics.json``.
        dataset: the split that was evaluated.
        examples: example images by the name of their picture.
    """
    classes = evaluation.classes
    ids = [dataset.id(i) for i in range(len(evaluation.counts))]
    own = dict(zip(ids, mean_iou(evaluation.counts), strict=True))
    folder.predictions.mkdir(exist_ok=True)
    for path, example in zip(folder.claim_pictures(examples), examples.values(), strict=True):
        title = f"{example.id}, mean IoU {percent(float(own[example.id]))} %"
        figure = example_figure(example.image, example.truth, example.prediction, classes, title)
        save_figure(figure, path)
    save_figure(confusion_matrix(evaluation.confusion, classes.names), folder.confusion_plot)
    if "calibration" in metrics:
        save_figure(reliability_diagram(metrics["calibration"]["bins"]), folder.calibration_plot)
    if folder.metrics_csv.is_file():
        save_figure(training_curves(read_rows(folder.metrics_csv)), folder.curves_plot)
    counts = ImageCounts(np.array(ids), evaluation.counts, classes.names, evaluation.groups)
    write_image_counts(counts, folder.per_image)
    write_confusion(evaluation.confusion, classes.names, folder.confusion_csv)
    write_metrics(metrics, folder.metrics)
    # If the output is piped into a file, rich would wrap lines at 80 columns, and break paths that a user copies.
    Console(soft_wrap=True, highlight=False).print(evaluation_table(metrics))
    covered = [metrics["mIoU_interval_covers"]] if metrics["mIoU_interval"] else []
    notes = result_notes(evaluation, of_net="predictions" not in metrics)
    for note in filter(None, (*covered, metrics["mIoU_interval_note"], *notes)):
        print(f"note: {note}")
