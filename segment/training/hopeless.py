"""The end of a job of a sweep whose scores are lower than those of other jobs."""

import csv
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.records.metrics_csv import read_rows


class StopHopeless(Callback):
    """End a job of a sweep if its score is below the median of the finished jobs' at the same epoch.

    The job is then evaluated as usual, and done. A run that is no job of a sweep is left alone.

    Args:
        monitor: metric that is compared; more is better.
        min_jobs: number of finished jobs from which on jobs are ended.
        min_epochs: number of epochs that each job trains.

    Example:
        >>> callbacks = [StopHopeless(min_jobs=3)]  # for lightning.Trainer(callbacks=callbacks)
    """

    mode = "max"

    def __init__(self, monitor: str = "val/mIoU", min_jobs: int = 5, min_epochs: int = 1) -> None:
        if min_jobs < 1 or min_epochs < 1:
            raise SegmentError(
                f"callbacks.stop_hopeless: expected min_jobs and min_epochs from 1, got {min_jobs} and {min_epochs}"
            )
        self.monitor, self.min_jobs, self.min_epochs = monitor, min_jobs, min_epochs
        self._finished: dict[Path, dict[int, float]] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        hopeless = trainer.is_global_zero and self._is_hopeless(trainer)
        if trainer.strategy.reduce_boolean_decision(hopeless, all=False):
            trainer.should_stop = True

    def _is_hopeless(self, trainer: Trainer) -> bool:
        folder, epoch = RunFolder(trainer.default_root_dir), trainer.current_epoch
        if epoch + 1 < self.min_epochs or not folder.job_status.is_file():
            return False
        scores = [job[epoch] for job in self._other_jobs(folder) if epoch in job]
        score = float(trainer.callback_metrics[self.monitor])
        if len(scores) < max(1, self.min_jobs) or score >= median(scores):
            return False
        print(
            f"ended: {self.monitor} {score:.4f} at epoch {epoch + 1} is below {median(scores):.4f}, "
            f"the median of {len(scores)} finished jobs",
            flush=True,
        )
        return True

    def _other_jobs(self, folder: RunFolder) -> list[dict[int, float]]:
        """Return the scores of the finished jobs by epoch; what cannot be read is left out."""
        for path in folder.path.parent.iterdir():
            if path not in self._finished and (scores := finished_scores(RunFolder(path), self.monitor)):
                self._finished[path] = scores
        return list(self._finished.values())


def finished_scores(job: RunFolder, metric: str) -> dict[int, float]:
    """Return the last value of a metric in each epoch of a job; empty if it is not done, or cannot be read."""
    try:
        record = JobRecord.read(job.job_status)
        rows: list[dict[str, Any]] = read_rows(job.metrics_csv) if record and record.state == "done" else []
        scores = {int(row["epoch"]): float(row[metric]) for row in rows if row.get(metric)}
    except (SegmentError, OSError, ValueError, KeyError, csv.Error):
        return {}
    return {epoch: score for epoch, score in scores.items() if isfinite(score)}
