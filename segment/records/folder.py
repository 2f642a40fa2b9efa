"""The files of a run folder: one name for each, and the rule for what may be deleted."""

from pathlib import Path


class RunFolder:
    """Name every file that a training or an evaluation writes into its folder.

    Args:
        path: the folder; it need not exist.

    Example:
        >>> RunFolder("runs/a").best_checkpoint.as_posix()
        'runs/a/checkpoints/best.ckpt'
        >>> RunFolder.of_checkpoint("runs/a/checkpoints/best.ckpt") == RunFolder("runs/a")
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        self.checkpoints = path / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.metrics = path / "metrics.json"
        self.metrics_csv = path / "metrics.csv"
        self.per_image = path / "per_image.npz"
        self.confusion_csv = path / "confusion.csv"
        self.confusion_plot = path / "confusion.png"
        self.curves_plot = path / "curves.png"
        self.predictions = path / "predictions"
        self.provenance = path / "provenance.json"
        self.hydra = path / ".hydra"
        self.git_diff = self.hydra / "git.diff"
        self.job_status = path / "job.json"
        self.job_log = path / "job.log"
        self.job_lock = path / "job.lock"
        self.data_report = path / "check.json"
        self.data_plot = path / "check.png"
        self.voc_archive = path / "results.tgz"

    @classmethod
    def of_checkpoint(cls, checkpoint: str | Path) -> "RunFolder":
        """Return the folder of the run that wrote a checkpoint."""
        return cls(Path(checkpoint).parent.parent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path.resolve() == other.path.resolve()

    def __hash__(self) -> int:
        return hash(self.path.resolve())

    def holds(self, checkpoint: Path) -> bool:
        """Return whether a checkpoint was written by the run in this folder."""
        return RunFolder.of_checkpoint(checkpoint.resolve()) == self

    @property
    def is_run(self) -> bool:
        """True if a training, an evaluation or a job of a sweep left its files here."""
        return any(path.is_file() for path in (self.metrics, self.job_status, self.last_checkpoint))

    def clear_results(self) -> None:
        """Delete the metrics and pictures of an earlier run: they do not belong to the run that begins here."""
        for path in (self.metrics, *self.predictions.glob("*.png")):
            path.unlink(missing_ok=True)
