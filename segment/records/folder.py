"""The files of a run folder: one name for each, and the rule for what may be deleted."""

import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from segment.errors import SegmentError
from segment.files import clear_parts, readable_file, user_path, whole_file
from segment.records.hub import CONFIG, SCHEME, WEIGHTS, download


def checkpoint_path(given: Any, key: str = "checkpoint") -> Path:
    """Return the checkpoint that a user names; a run folder stands for its best checkpoint.

    Args:
        given: a path, or an address ``hf://USER/NAME@REVISION``, which is downloaded. A shared folder, and its
            weights, stand for its config.json.
        key: the key that the path was given for, for error messages.

    Raises:
        SegmentError: the path is empty, or there is no file that can be read.
    """
    path = download(given) if isinstance(given, str) and given.startswith(SCHEME) else user_path(given, key)
    if path.name == WEIGHTS:
        path = path.with_name(CONFIG)
    elif path.is_dir():
        best = RunFolder(path).best_checkpoint
        shared = [path / CONFIG] if any((path / name).is_file() for name in (CONFIG, WEIGHTS)) else []
        found = [one for one in (best, path / best.name) if one.is_file()] or shared
        if not found:
            raise SegmentError(f"{key}={path}: expected a run folder with checkpoints/{best.name}, or a checkpoint")
        path = found[0]
    elif "://" in str(given):
        raise SegmentError(f"{key}={given}: expected a file, a run folder or {SCHEME}USER/NAME: download it first")
    return readable_file(path, key)


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
        self.calibration_plot = path / "calibration.png"
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
        self.data_masks = path / "check_masks.png"
        self.voc_archive = path / "results.tgz"
        self.ade20k_archive = path / "results.zip"
        self.written = path / "written.txt"
        self.range_test_plot = path / "learning_rate.png"
        self.lock = path / "run.lock"

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
        return any(map(os.path.isfile, (self.metrics, self.job_status, self.last_checkpoint)))

    @property
    def result_files(self) -> tuple[Path, ...]:
        """The files of results with fixed names."""
        return (
            self.metrics, self.metrics_csv, self.per_image, self.confusion_csv, self.confusion_plot, self.curves_plot,
            self.calibration_plot, self.best_checkpoint, self.last_checkpoint, self.provenance, self.voc_archive,
            self.ade20k_archive, self.range_test_plot,
        )  # fmt: skip

    def check_links(self, *further: Path) -> None:
        """Check that the folder's files lie in it: a link may be a stranger's, and lead to files of the user's.

        Args:
            further: paths that must be no links either.

        Raises:
            SegmentError: a part of the folder is a link.
        """
        own = (self.checkpoints, self.predictions, self.hydra, self.lock, self.job_lock, self.job_log, self.metrics_csv)
        for path in (*own, *further):
            if path.is_symlink():
                raise SegmentError(
                    f"{path} is a link, and a run writes into its own folder alone: remove it, or choose another "
                    "hydra.run.dir"
                )

    def claim(self, *files: Path) -> None:
        """Check that the files of a run that begins replace nobody else's, and record their names.

        Args:
            files: the files; by default those of a training and an evaluation.

        Raises:
            SegmentError: a file exists under one of the names, and no earlier run wrote it.
        """
        own, files = self._written(), files or self.result_files
        for path in files:
            if path.exists() and self._name(path) not in own:
                raise SegmentError(f"{path} exists, and no run of this package wrote it: choose another hydra.run.dir")
        self._record({*own, *map(self._name, files)})

    def claim_pictures(self, names: Iterable[str]) -> list[Path]:
        """Return a path in ``predictions/`` for each name, and record them; other files there keep their names."""
        own, paths = self._written(), []
        for name in names:
            # An image in a sub-folder has the folder's name in its own; a file's name has 255 bytes at most.
            plain = os.fsencode(name.replace("/", "_"))[-200:].decode(errors="replace")
            candidates = (self.predictions / f"{plain}{f'_{i}' * (i > 1)}.png" for i in count(1))
            paths.append(next(path for path in candidates if path not in paths and not os.path.lexists(path)))
        self._record({*own, *map(self._name, paths)})
        return paths

    def clear_results(self) -> None:
        """Delete the metrics and pictures of an earlier run: they do not belong to the run that begins here.

        The ``.part`` files of one that was killed are deleted too.

        Only files that ``written.txt`` lists are deleted, and no links: that list may come from an untrusted source.
        """
        clear_parts([*self.result_files, self.written])
        own = self._written()
        for path in (self.metrics, *self.predictions.glob("*.png")):
            if self._name(path) in own and path.is_file() and not path.is_symlink():
                path.unlink()
        if own:
            self._record({name for name in own if not name.startswith("predictions/")})

    def _name(self, path: Path) -> str:
        """Return a file's entry in ``written.txt``."""
        return path.relative_to(self.path).as_posix()

    def _written(self) -> set[str]:
        try:
            return {*self.written.read_text(encoding="utf-8").splitlines()}
        except (OSError, ValueError):
            return set()

    def _record(self, names: Iterable[str]) -> None:
        with whole_file(self.written, encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in sorted(names)))
