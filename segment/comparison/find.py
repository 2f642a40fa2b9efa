"""Search for runs on disk."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segment.comparison.run import Run, read_counts, read_run
from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord

PRUNED = {"checkpoints", "predictions", "wandb", ".hydra", ".git"}
"""Names of folders that are not searched."""


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str], list[str]]:
    """Find all runs in and below folders, each once.

    The runs come in the order of the folders, those of a sweep in the order in which its jobs began, others by name.

    Returns:
        The runs that have metrics; a line for each run that failed, has not finished or cannot be read; and notes.

    Raises:
        SegmentError: a folder is missing.
    """
    runs: list[Run] = []
    problems, notes = [], []
    seen: dict[tuple, Run] = {}
    for folder in run_folders(folders):
        try:
            run = read_run(folder)
            # Masks may change in their folder, of which no digest is known.
            scores = () if run.has_net else (run.metrics["mIoU"], *run.metrics["per_class_IoU"].values())
            key = (run.net, run.data, *run.measurement.values(), *scores)
        except (SegmentError, OSError, ValueError) as error:  # a record may name a file that cannot be read
            problems.append(f"{folder.path}: {error}")
            continue
        if (first := seen.setdefault(key, run)) is not run:
            notes.append(f"{folder.path} repeats the evaluation of another run: left out{_share_groups(first, run)}")
            continue
        if trained_on := run.metrics.get("images_trained_on"):
            share = f"{trained_on} of {run.metrics.get('images')} evaluation images"
            notes.append(f"{folder.path}: {share} were in the training set, so these scores are optimistic")
        try:
            run.counts = read_counts(run)
        except SegmentError as error:
            notes.append(f"{folder.path}: no intervals, {error}")
        runs.append(run)
    return runs, problems, notes


def _share_groups(first: Run, repeat: Run) -> str:
    """Give a run the groups of images of a repeated evaluation if it has none; return what a note says of them."""
    try:
        counts = read_counts(repeat)
    except SegmentError:
        return ""
    if first.counts is None or counts is None or counts.groups is None:
        return ""
    if first.counts.groups is None:
        first.counts = counts
        return ", but for its groups of images"
    same = np.array_equal(counts.groups, first.counts.groups) and np.array_equal(counts.ids, first.counts.ids)
    return "" if same else ", with its groups of images, which differ"


def run_folders(folders: Sequence[Path]) -> list[RunFolder]:
    """Return the folders of all runs in and below folders, in the order of :func:`find_runs`.

    Raises:
        SegmentError: a folder is missing.
    """
    found: dict[RunFolder, None] = {}
    for top in folders:
        if not top.is_dir():
            raise SegmentError(f"{top} is no folder: expected one that holds runs, such as runs/")
        below = []
        for path, names, _ in os.walk(top):
            names[:] = [name for name in names if name not in PRUNED]
            if RunFolder(path).is_run:
                below.append(RunFolder(path))
        found |= dict.fromkeys(sorted(below, key=_order))
    return list(found)


def _order(folder: RunFolder) -> tuple:
    """Return a key that sorts folders by their parents, then by the start of their jobs, then by name with numbers."""
    try:
        job = JobRecord.read(folder.job_status)
    except SegmentError:
        job = None
    names = [
        [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", part)]
        for part in folder.path.absolute().parts
    ]
    return names[:-1], job.started if job else "", names[-1]
