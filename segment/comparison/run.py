"""A run on disk: what it was trained with, and what it gave."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from segment.cli.config import read_record
from segment.comparison.paired import Counts
from segment.errors import SegmentError
from segment.evaluation.intervals import mean_iou
from segment.files import checkpoint_digest
from segment.records import provenance
from segment.sweeps.process import Status

MEASUREMENT = ("split", "images", "precision", "protocol")
"""Of metrics.json, what has to be equal for two figures to be comparable."""
BOOKKEEPING = re.compile(
    r"(seed|resume|repeat|checkpoint|hydra|logger|callbacks\.(wandb|epoch_line|throughput)"
    r"|data\.(root|seed|num_workers|download|url|checksum)"
    r"|trainer\.(enable_.*|log_every_n_steps|default_root_dir))(\..*)?"
)
"""Keys that may differ between runs of one group: the seed, where things lie, what is shown."""


@dataclass
class Run:
    """A run that has been measured.

    ``config`` and ``choices`` are those that its net was trained with, flat; ``measured`` the data configuration that
    it was measured on, and ``root`` where that lay, if the same net was measured elsewhere, too, or another one was
    trained as this one on other files. ``content`` is a hash of the files that it was trained and validated on.
    """

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]
    choices: dict[str, Any]
    measured: dict[str, Any]
    checkpoint: Path
    content: str | None = None
    counts: Counts | None = None
    root: str | None = None

    @property
    def seed(self) -> Any:
        return self.config.get("seed", self.config.get("data.seed"))

    @property
    def data(self) -> tuple[str, tuple[str, ...]]:
        """The data set that the figures are of: its name, and those of its classes."""
        parts = str(self.measured.get("_target_", "")).split(".")
        return parts[-2] if len(parts) > 1 else "unknown", tuple(self.metrics["per_class_IoU"])

    @property
    def measurement(self) -> dict[str, Any]:
        """What has to be equal for two figures to be comparable."""
        return {**{key: self.metrics.get(key) for key in MEASUREMENT}, "root": self.root}

    @property
    def settings(self) -> dict[str, Any]:
        """What one would have to repeat to get this run with another seed."""
        return {key: value for key, value in self.config.items() if not BOOKKEEPING.fullmatch(key)}

    @property
    def recipe(self) -> str:
        """The settings as a key, whatever their order."""
        return repr(sorted(self.settings.items()))

    @property
    def is_training(self) -> bool:
        """Whether the net was trained here, and not only measured."""
        return self.checkpoint.parent.parent.resolve() == self.folder.resolve()

    @property
    def net(self) -> str:
        """The one file of the net, whatever leads to it."""
        return os.path.realpath(self.checkpoint)


def status(folder: Path) -> Status | None:
    """What job.json says of the job in a folder, None without one.

    Raises:
        SegmentError: it cannot be read.
    """
    try:
        return Status.read(folder)
    except (OSError, ValueError, TypeError) as error:
        raise SegmentError(f"cannot read job.json: {error}") from None


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        SegmentError: it failed, has not finished, or its files cannot be read.
    """
    job = status(folder)
    if job and job.state == "failed":
        raise SegmentError(f"failed ({' '.join(job.overrides)}): {' '.join(job.reason.split())}")
    if job and job.state != "done":
        raise SegmentError(f"not finished ({' '.join(job.overrides)}), begun {job.started}")
    path = folder / "metrics.json"
    if not path.is_file():
        raise SegmentError("no metrics.json: the run was stopped, or still goes on")
    metrics = _json(path)
    if not isinstance(metrics.get("mIoU", ""), float | int | None) or not isinstance(
        metrics.get("per_class_IoU"), dict
    ):
        raise SegmentError("metrics.json holds no figures of segment.train or segment.evaluate")
    config, choices = configuration(folder)
    measured = config.get("data") or {}
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        checkpoint = Path(str(metrics.get("checkpoint")))
    if checkpoint.is_file() and metrics.get("checkpoint_digest") not in {None, checkpoint_digest(checkpoint)}:
        raise SegmentError(f"the figures are of an earlier {checkpoint}, which was written anew: evaluate it again")
    if isinstance(config.get("checkpoint"), str):  # an evaluation: it is the training that made the net
        config, choices = configuration(checkpoint.parent.parent)
        if not config:
            config, choices = {"evaluation": str(folder)}, {}
    settings = {key: _portable(value) for key, value in provenance.flat(config)} if config else {}
    return Run(folder, metrics, settings, choices, measured, checkpoint, _content(checkpoint, settings))


def configuration(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration of the run in a folder and the option of each group, empty where there is no record.

    Of a training it is provenance.json's, which is written when its figures begin: Hydra writes its own record anew for
    words that are refused, too. An evaluation has that alone.

    Raises:
        SegmentError: provenance.json is damaged, or lacks them.
    """
    record = provenance.read(folder)
    if record is None:
        return read_record(folder)
    try:
        return record["config"], record["choices"]
    except (KeyError, TypeError):
        raise SegmentError(f"{provenance.NAME} of {folder} has no configuration and choices of a run") from None


def _content(checkpoint: Path, settings: dict[str, Any]) -> str | None:
    """A hash of the files that a net was trained and validated on; None where that is unknown, or was drawn."""
    record = provenance.read(checkpoint.parent.parent) if "data.root" in settings else None
    data = record and record.get("data")
    return hashlib.sha256(repr(data).encode()).hexdigest()[:6] if data else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SegmentError(f"cannot read {path.name}: {error}") from None
    if not isinstance(content, dict):
        raise SegmentError(f"{path.name} holds no table of keys and values")
    return content


def read_counts(run: Run) -> Counts | None:
    """The pixels of each image, where the run has them.

    Raises:
        SegmentError: they cannot be read, or are of other figures than metrics.json.
    """
    path = run.folder / "per_image.npz"
    if not path.is_file():
        return None
    counts, names = Counts.read(path)
    found, told = float(mean_iou(counts.pixels.sum(0))), run.metrics["mIoU"]
    if names != run.data[1] or not (isnan(found) if told is None else abs(found - told) < 1e-6):
        raise SegmentError(f"per_image.npz gives mIoU {found:.4f}, metrics.json {told}: not of one evaluation")
    return counts


def _portable(value: Any) -> Any:
    """A setting; of a path only the file's name and its folder's, since those above differ between machines.

    The checkpoints of all runs have one name: of those the net's, and a number for what it was trained with, which nets
    share that differ in their seed alone.
    """
    if not isinstance(value, str) or "/" not in value:
        return value
    path = Path(value)
    if path.suffix != ".ckpt":
        return _ending(value)
    config, choices = configuration(path.parent.parent)
    if not config:
        return "/".join(path.parts[-3:])
    content = sorted(
        (key, _ending(str(setting))) for key, setting in provenance.flat(config) if not BOOKKEEPING.fullmatch(key)
    )
    return f"{choices.get('model', 'net')}-{hashlib.sha256(repr(content).encode()).hexdigest()[:6]}"


def _ending(path: str) -> str:
    return "/".join(Path(path).parts[-2:])
