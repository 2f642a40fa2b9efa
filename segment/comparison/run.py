"""A run on disk: its metrics, and the settings with which its net was trained."""

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

from segment.cli.config import flatten
from segment.cli.overrides import REPEATED, WITHOUT_EFFECT, matches_key
from segment.cli.run_folder import read_hydra_record
from segment.comparison.names import net_name
from segment.errors import SegmentError
from segment.evaluation.intervals import mean_iou
from segment.files import checkpoint_digest
from segment.records.folder import RunFolder
from segment.records.hub import CONFIG
from segment.records.job_status import JobRecord
from segment.records.metrics_json import read_metrics
from segment.records.per_image import ImageCounts, read_image_counts
from segment.records.provenance import read_provenance

MEASUREMENT = ("split", "images", "precision", "protocol", "files")
"""Keys of metrics.json that have to be equal for two scores to be comparable."""
OF_A_NET = {"precision", "protocol"}
"""Those of the keys that say how a net predicted; they are unknown of predictions that were evaluated."""
TRAINING_FILES = "training files"
"""Setting that holds a hash of the names and sizes of the files that a net was trained and validated on."""

SAME_IMAGES = {"voc_sbd": "voc"}
"""Data sets whose splits for evaluation are those of another one."""
UNKNOWN_TRAINING = r"predictions|net"
"""Keys that stand for the configuration where nothing is known of a training; their value is a path."""


@dataclass
class Run:
    """A run that has metrics.

    Attributes:
        folder: folder of the training or evaluation.
        metrics: content of its ``metrics.json``.
        config: configuration of the net's training, by dotted key, and :data:`TRAINING_FILES`.
        choices: the option that the training had in each option group, such as ``{"model": "fcn8s"}``.
        data_config: configuration of the data that was evaluated.
        checkpoint: checkpoint of the net.
        inference: arguments of the :class:`segment.prediction.Inference` of an evaluation.
        counts: counted pixels of each image; None if the run has no such file.
        job: the job of a sweep that the run was; None for others.

    Example:
        >>> run = Run(RunFolder("runs/a"), {"data": "voc", "per_class_IoU": {"cat": 0.5}}, {"seed": 1, "loss.gamma": 2},
        ...           {"model": "fcn8s"}, {}, Path("runs/a/checkpoints/best.ckpt"))
        >>> run.name, run.data, run.seed, run.settings
        ('fcn8s', ('voc', ('cat',)), 1, {'loss.gamma': 2})
    """

    folder: RunFolder
    metrics: dict[str, Any]
    config: dict[str, Any]
    choices: dict[str, Any]
    data_config: dict[str, Any]
    checkpoint: Path
    inference: dict[str, Any] = field(default_factory=dict)
    counts: ImageCounts | None = None
    job: JobRecord | None = None

    @property
    def seed(self) -> Any:
        """The seed of the training."""
        return self.config.get("seed", self.config.get("data.seed"))

    @property
    def fold(self) -> int | None:
        """The fold that was held out in the training; None without a cross-validation."""
        fold = self.config.get("data.fold") if self.config.get("data.folds") else None
        return fold if isinstance(fold, int) else None  # the record may be a stranger's

    @property
    def split(self) -> str:
        """The split that was evaluated, or what is divided into folds, of which one was evaluated."""
        return str(self.metrics["folds"]["of"] if "folds" in self.metrics else self.metrics.get("split"))

    @property
    def name(self) -> str:
        """Name of the net: by its architecture, else the option ``model=``, else the folder that it comes from."""
        if not self.has_net:
            return f"predictions in {_last_parts(str(self.checkpoint))}"
        return net_name(self.config) or str(self.choices.get("model") or _origin(self.checkpoint))

    @property
    def protocol(self) -> str:
        """The inference protocol of the run. Counting is left out: it is the same for all runs."""
        return str(self.metrics.get("protocol")).partition(";")[0]

    @property
    def data(self) -> tuple[str, tuple[str, ...]]:
        """Name and class names of the data set that was evaluated."""
        name = str(self.metrics.get("data", "unknown"))
        return SAME_IMAGES.get(name, name), tuple(self.metrics["per_class_IoU"])

    @property
    def measurement(self) -> dict[str, Any]:
        """The values of the keys :data:`MEASUREMENT`; of a fold, those that all folds have in common."""
        return {key: self.metrics.get(key) for key in MEASUREMENT} | {
            key: value for key, value in self.metrics.get("folds", {}).items() if key in MEASUREMENT
        }

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration without seeds and folds, and without keys that do not change the result."""
        return {key: value for key, value in self.config.items() if not matches_key(key, REPEATED, WITHOUT_EFFECT)}

    @property
    def is_training(self) -> bool:
        """True if the net was trained in this folder, and not only evaluated."""
        return self.folder.holds(self.checkpoint)

    @property
    def has_net(self) -> bool:
        """False if predictions were evaluated, of which no net is known."""
        return "predictions" not in self.metrics

    @property
    def has_training(self) -> bool:
        """False if nothing is known of a training: of predictions, and of a checkpoint without its run folder."""
        return not any(matches_key(key, UNKNOWN_TRAINING) for key in self.config)

    @property
    def net(self) -> str:
        """The real path of the net's checkpoint, or of the predictions' folder."""
        return os.path.realpath(self.checkpoint)


def read_run(folder: RunFolder) -> Run:
    """Read the run in a folder.

    Raises:
        SegmentError: the run failed, has not finished, or its files cannot be read.
    """
    job = JobRecord.read(folder.job_status)
    if job and job.state == "failed":
        raise SegmentError(f"failed ({' '.join(job.overrides)}): {' '.join(job.reason.split())}")
    if job and job.state != "done":
        raise SegmentError(f"not finished ({' '.join(job.overrides)}), started {job.started}")
    if not folder.metrics.is_file():
        raise SegmentError("no metrics.json: the run was stopped, or has not finished")
    metrics = read_metrics(folder.metrics)
    checkpoint = folder.best_checkpoint
    if not checkpoint.is_file():
        checkpoint = Path(str(metrics.get("predictions", metrics.get("checkpoint"))))
    if checkpoint.is_file() and metrics.get("checkpoint_digest") not in {None, checkpoint_digest(checkpoint)}:
        raise SegmentError(
            f"the metrics are those of an earlier {checkpoint}, which was overwritten: evaluate it again"
        )
    config, choices = training_config(folder)
    data_config, inference = (config.get(key) or {} for key in ("data", "inference"))
    if "predictions" in metrics:  # masks of another program: nothing is known of a training
        config, choices = {"predictions": str(checkpoint)}, {}
    elif isinstance(config.get("checkpoint"), str):  # the configuration of an evaluation
        config, choices = training_config(RunFolder.of_checkpoint(checkpoint))
    flat = dict(flatten(config or {"net": str(checkpoint)}))
    flat = {
        key: value if matches_key(key, WITHOUT_EFFECT, UNKNOWN_TRAINING) else _portable(value)
        for key, value in flat.items()
    }
    settings = flat | _training_files(checkpoint, flat)
    return Run(folder, metrics, settings, choices, data_config, checkpoint, inference, job=job)


def training_config(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of the run in a folder and the option of each option group; empty without a record.

    A training has them in provenance.json, which is written when the training begins. Hydra's own record is
    overwritten by a start that is refused. An evaluation has Hydra's record alone.

    Raises:
        SegmentError: provenance.json is damaged.
    """
    record = read_provenance(folder)
    return read_hydra_record(folder.hydra) if record is None else (record["config"], record["choices"])


def read_counts(run: Run) -> ImageCounts | None:
    """Read the counted pixels of each image; None if the run has no such file.

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


def _training_files(checkpoint: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return the setting :data:`TRAINING_FILES`; empty if unknown, or for drawn images, which differ with the seed."""
    record = read_provenance(RunFolder.of_checkpoint(checkpoint)) if "data.root" in config else None
    hashes = record and record.get("data")
    if hashes and "folds" in hashes:  # the training files of each fold differ
        hashes = hashes["folds"]
    return {TRAINING_FILES: hashlib.sha256(repr(hashes).encode()).hexdigest()[:6]} if hashes else {}


def _portable(value: Any) -> Any:
    """Return a setting in a form that is equal on all machines: a path becomes the names of the file and its folder.

    All checkpoints have the same name. A checkpoint is described by the model and a hash of the settings of its
    training, which are equal for nets that differ in their seed alone.
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
        if not matches_key(key, REPEATED, WITHOUT_EFFECT)
    )
    return f"{choices.get('model', 'net')}-{hashlib.sha256(repr(content).encode()).hexdigest()[:6]}"


def _origin(checkpoint: Path) -> str:
    """Return the name of the folder of a net's training, of a shared folder, or of a repository with its commit."""
    if checkpoint.parts[:1] == ("hf:",):
        return "/".join(checkpoint.parts[1:])[:-33]  # 7 of a commit's 40 digits
    return checkpoint.parent.name if checkpoint.name == CONFIG else RunFolder.of_checkpoint(checkpoint).path.name


def _last_parts(path: str) -> str:
    return str(Path(*Path(path).parts[-2:]))
