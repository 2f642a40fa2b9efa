"""``metrics.csv``: the logged values of a run, a row for each logging step."""

import csv
import math
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from segment.files import whole_file


class WholeRowsWriter(ExperimentWriter):
    """Write rows so that a killed run leaves all rows whole.

    For a new column Lightning's writer empties the file before it writes it anew.

    Args:
        folder: the folder of ``metrics.csv``.
        earlier: rows that the file begins with.
    """

    def __init__(self, folder: str, earlier: list[dict[str, Any]]) -> None:
        super().__init__(folder)
        self.metrics = list(earlier)  # rows still to be written
        self._written: list[dict[str, Any]] = []

    def _check_log_dir_exists(self) -> None:
        """Keep an existing file: Lightning's method deletes the rows of a run that is resumed."""

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


def read_rows(metrics: Path, before: float = math.inf) -> list[dict[str, Any]]:
    """Read the rows of a metrics.csv before a step, which a run that resumes at this step keeps."""
    if not metrics.is_file():
        return []
    with metrics.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]  # a full disk cuts off the last row
    return [row for row in rows if int(row["step"]) < before]


class MetricsFile(CSVLogger):
    """Lightning's logger that writes ``metrics.csv`` into the run folder itself.

    Args:
        folder: the run folder.
        earlier: rows that the file begins with.
    """

    def __init__(self, folder: Path, earlier: list[dict[str, Any]]) -> None:
        super().__init__(folder, name="", version="")  # "": files and checkpoints lie in the folder itself
        self._earlier = earlier

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = WholeRowsWriter(self.log_dir, self._earlier)
        return self._experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write no hparams.yaml: provenance.json has the configuration, and the file may be another program's."""
