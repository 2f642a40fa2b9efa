"""A run on disk: the settings of its training, and its metrics."""

import hashlib
import os
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from segment.cli.config import read_hydra_record
from segment.cli.overrides import SEEDS, WITHOUT_EFFECT, matches_key
from segment.errors import SegmentError
from segment.evaluation.intervals import mean_iou
from segment.files import checkpoint_digest
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.records.metrics_json import read_metrics
from segment.records.per_image import ImageCounts, read_image_counts
from segment.records.provenance import flatten, read_provenance

MEASUREMENT = ("split", "images", "precision", "protocol")
"""Keys of metrics.json that have to be equal for two scores to be comparable."""


@dataclass
class Run:
    """A run that has metrics.

    Attributes:
        folder: of the training or evaluation.
        metrics: content of its ``metrics.json``.
        config: settings of the net's training by dotted key.
        choices: the option of each group in that training.
        data_config: configuration of the data that the metrics were measured on.
        checkpoint: of the net.
        content: hash of the files that the net was trained and validated on; None if unknown.
        counts: pixels of each image; None if the run has no such file.
        root: folder of the data, if it tells this run from another one; see :func:`segment.comparison.find.find_runs`.
    """

    folder: RunFolder
    metrics: dict[str, Any]
    config: dict[str, Any]
    choices: dict[str, Any]
    data_config: dict[str, Any]
    checkpoint: Path
    content: str | None = None
    counts: ImageCounts | None = None
    root: str | None = None

    @property
    def seed(self) -> Any:
        """The seed of the training."""
        return self.config.get("seed", self.config.get("data.seed"))

    @property
    def data(self) -> tuple[str, tuple[str, ...]]:
        """Name and class names of the data set that the metrics were measured on."""
        return str(self.metrics.get("data", "unknown")), tuple(self.metrics["per_class_IoU"])

    @property
    def measurement(self) -> dict[str, Any]:
        """The values that have to be equal for two scores to be comparable."""
        return {**{key: self.metrics.get(key) for key in MEASUREMENT}, "root": self.root}

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration without seeds and without keys that do not change the result."""
        return {key: value for key, value in self.config.items() if not matches_key(key, SEEDS, WITHOUT_EFFECT)}

    @property
    def recipe(self) -> str:
        """The settings as one string, whatever their order."""
        return repr(sorted(self.settings.items()))

    @property
    def is_training(self) -> bool:
        """Whether the net was trained in this folder, and not only evaluated."""
        return self.folder.holds(self.checkpoint)

    @property
    def net(self) -> str:
        """The real path of the net's checkpoint."""
        return os.path.realpath(self.checkpoint)


def read_run(folder: RunFolder) -> Run:
    """Read the run in a folder.

    Raises:
        SegmentError: it failed, has not finished, or its files cannot be read.
    """
    job = JobRecord.read(folder.job_status)
    if job and job.state == "failed":
        raise SegmentError(f"failed ({' '.join(job.overrides)}): {' '.join(job.reason.split())}")
    if job and job.state != "done":
        raise SegmentError(f"not finished ({' '.join(job.overrides)}), started {job.started}")
    if not folder.metrics.is_file():
        raise SegmentError("no metrics.json: the run was stopped, or has not finished")
    metrics = read_metrics(folder.metrics)
    config, choices = training_config(folder)
    data_config = config.get("data") or {}
    checkpoint = folder.best_checkpoint
    if not checkpoint.is_file():
        checkpoint = Path(str(metrics.get("checkpoint")))
    if checkpoint.is_file() and metrics.get("checkpoint_digest") not in {None, checkpoint_digest(checkpoint)}:
        raise SegmentError(f"the metrics are of an earlier {checkpoint}, which was overwritten: evaluate it again")
    if isinstance(config.get("checkpoint"), str):  # an evaluation: the settings are those of the net's training
        config, choices = training_config(RunFolder.of_checkpoint(checkpoint))
        if not config:
            config, choices = {"evaluation": str(folder.path)}, {}
    settings = {key: _portable(value) for key, value in flatten(config)} if config else {}
    return Run(folder, metrics, settings, choices, data_config, checkpoint, _content(checkpoint, settings))


def training_config(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of the run in a folder and the option of each group; empty without a record.

    A training's is in provenance.json, which is written when training begins: Hydra's own record is overwritten by a
    start that is refused. An evaluation has Hydra's record alone.

    Raises:
        SegmentError: provenance.json is damaged.
    """
    record = read_provenance(folder)
    return read_hydra_record(folder.hydra) if record is None else (record["config"], record["choices"])


def read_counts(run: Run) -> ImageCounts | None:
    """Read the pixels of each image; None if the run has no such file.

    Raises:
        SegmentError: the file cannot be read, or belongs to another evaluation than metrics.json.
    """
    if not run.folder.per_image.is_file():
        return None
    counts = read_image_counts(run.folder.per_image)
    found, recorded = float(mean_iou(counts.pixels.sum(0))), run.metrics["mIoU"]
    same = isnan(found) if recorded is None else abs(found - recorded) < 1e-6
    if counts.names != run.data[1] or not same:
        raise SegmentError(
            f"per_image.npz gives mIoU {found:.4f}, metrics.json {recorded}: they belong to different evaluations"
        )
    return counts


def _content(checkpoint: Path, settings: dict[str, Any]) -> str | None:
    """Return a hash of the files that a net was trained and validated on; None if unknown, or for drawn images."""
    record = read_provenance(RunFolder.of_checkpoint(checkpoint)) if "data.root" in settings else None
    data = record and record.get("data")
    return hashlib.sha256(repr(data).encode()).hexdigest()[:6] if data else None


def _portable(value: Any) -> Any:
    """Return a setting without the parts of a path that differ between machines: file and folder name are kept.

    The checkpoints of all runs have the same name. A checkpoint is described by the net's name and a hash of its
    training's settings, which nets share that differ in their seed alone.
    """
    if not isinstance(value, str) or "/" not in value:
        return value
    path = Path(value)
    if path.suffix != ".ckpt":
        return _last_parts(value)
    config, choices = training_config(RunFolder.of_checkpoint(path))
    if not config:
        return "/".join(path.parts[-3:])
    content = sorted(
        (key, _last_parts(str(setting)))
        for key, setting in flatten(config)
        if not matches_key(key, SEEDS, WITHOUT_EFFECT)
    )
    return f"{choices.get('model', 'net')}-{hashlib.sha256(repr(content).encode()).hexdigest()[:6]}"


def _last_parts(path: str) -> str:
    return "/".join(Path(path).parts[-2:])
