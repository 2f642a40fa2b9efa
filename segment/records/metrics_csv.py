"""``metrics.csv``: the rows of a run's curves."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from segment.files import whole_file


class Rows(ExperimentWriter):
    """The rows of a metrics.csv: what is killed leaves whole ones.

    Lightning's empties the file before it writes a new column's heading.
    """

    def __init__(self, folder: str, earlier: list[dict[str, Any]]) -> None:
        super().__init__(folder)
        self.metrics = list(earlier)  # those to be written
        self._written: list[dict[str, Any]] = []

    def _check_log_dir_exists(self) -> None:
        """Lightning's would delete the rows of the run that goes on."""

    def save(self) -> None:
        columns = sorted({key for row in self.metrics for key in row}.union(self.metrics_keys))
        if columns != self.metrics_keys:
            with whole_file(Path(self.metrics_file_path), newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(self._written + self.metrics)
        elif self.metrics:
            with open(self.metrics_file_path, "a", newline="") as file:
                csv.DictWriter(file, columns).writerows(self.metrics)
        self.metrics_keys = columns
        self._written += self.metrics
        self.metrics = []


def rows_before(metrics: Path, step: int) -> list[dict[str, Any]]:
    """The rows of a metrics.csv up to a step: what a run that goes on from there keeps of it."""
    if not metrics.is_file():
        return []
    with metrics.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]  # a full disk breaks the last one off
    return [row for row in rows if int(row["step"]) < step]


class MetricsFile(CSVLogger):
    """``metrics.csv`` in a run's directory.

    Args:
        earlier: rows that it starts with.
    """

    def __init__(self, folder: Path, earlier: list[dict[str, Any]]) -> None:
        super().__init__(folder, name="", version="")
        self._earlier = earlier

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = Rows(self.log_dir, self._earlier)
        return self._experiment
