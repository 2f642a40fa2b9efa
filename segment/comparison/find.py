"""Runs on disk: found below folders, each once."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segment.comparison.run import Run, read_counts, read_run
from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord

PRUNED = {"checkpoints", "predictions", "wandb", ".hydra", ".git"}
"""Names of folders in which no run is searched."""


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str], list[str]]:
    """Find all runs at and below folders, in the folders' order: a sweep's as its jobs began, others by their names.

    Returns:
        The runs that have metrics; a line for each that failed, has not finished or cannot be read; and notes.

    Raises:
        SegmentError: a folder is missing.
    """
    runs: list[Run] = []
    problems, notes = [], []
    seen: set[tuple] = set()
    for folder in _run_folders(folders):
        try:
            run = read_run(folder)
        except SegmentError as error:
            problems.append(f"{folder.path}: {error}")
            continue
        key = (run.net, run.data, run.metrics.get("root"), *run.measurement.values())
        if key in seen:
            notes.append(f"{folder.path} repeats the evaluation of another run: left out")
            continue
        seen.add(key)
        if trained_on := run.metrics.get("images_trained_on"):
            images = run.metrics.get("images")
            notes.append(
                f"{folder.path}: {trained_on} of {images} evaluation images were in the training set, so these scores "
                "are optimistic"
            )
        try:
            run.counts = read_counts(run)
        except SegmentError as error:
            notes.append(f"{folder.path}: no intervals, {error}")
        runs.append(run)
    _set_roots(runs)
    return runs, problems, notes


def _set_roots(runs: Sequence[Run]) -> None:
    """Set ``root`` where a net was evaluated elsewhere than it was trained, or one recipe was trained on other files.

    The same files in two places, as two machines have them, make no difference.
    """
    roots: dict[str, set[str | None]] = defaultdict(set)
    homes = {run.net: run.metrics.get("root") for run in runs if run.is_training}
    contents: dict[tuple, dict[str, Any]] = defaultdict(dict)  # the first root of each content
    for run in runs:
        root = run.metrics.get("root")
        roots[run.net].add(root)
        if run.content:
            contents[run.recipe, run.data].setdefault(run.content, root)
    for run in runs:
        places = contents[run.recipe, run.data]
        root = run.metrics.get("root")
        if len(roots[run.net]) > 1 and root != homes.get(run.net, ...):
            run.root = root
        elif len(places) > 1 and run.content:
            root = places[run.content]
            run.root = root if [*places.values()].count(root) == 1 else f"{root} ({run.content})"


def _run_folders(folders: Sequence[Path]) -> list[RunFolder]:
    places: dict[Path, RunFolder] = {}
    for top in folders:
        if not top.is_dir():
            raise SegmentError(f"{top} is no folder: expected one that runs lie in, such as runs/")
        found = []
        for path, names, _ in os.walk(top):
            names[:] = [name for name in names if name not in PRUNED]
            if RunFolder(path).is_run:
                found.append(RunFolder(path))
        for folder in sorted(found, key=_order):
            places.setdefault(folder.path.resolve(), folder)
    return list(places.values())


def _order(folder: RunFolder) -> tuple:
    try:
        job = JobRecord.read(folder.job_status)
    except SegmentError:
        job = None
    names = [
        [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", part)]
        for part in folder.path.absolute().parts
    ]
    return names[:-1], job.started if job else "", names[-1]
