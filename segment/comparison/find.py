"""Runs on disk: found below folders, each once."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segment.comparison.run import Run, read, read_counts, status
from segment.errors import SegmentError

PRUNED = {"checkpoints", "predictions", "wandb", ".hydra", ".git"}


def find(folders: Sequence[Path]) -> tuple[list[Run], list[str], list[str]]:
    """All runs at and below folders, in the folders' order: a sweep's as its jobs began, others by their names.

    Returns:
        The runs that have figures; a line for each that failed, has not finished or cannot be read; and notes.

    Raises:
        SegmentError: a folder is missing.
    """
    runs: list[Run] = []
    problems, notes = [], []
    seen: set[tuple] = set()
    for folder in _places(folders):
        try:
            run = read(folder)
        except SegmentError as error:
            problems.append(f"{folder}: {error}")
            continue
        key = (run.net, run.data, run.metrics.get("root"), *run.measurement.values())
        if key in seen:
            notes.append(f"{folder} measures again what another run has: left out")
            continue
        seen.add(key)
        if trained_on := run.metrics.get("images_trained_on"):
            notes.append(f"{folder}: its figures flatter, {trained_on} of the images were trained on")
        try:
            run.counts = read_counts(run)
        except SegmentError as error:
            notes.append(f"{folder}: no intervals, {error}")
        runs.append(run)
    _tell_roots_apart(runs)
    return runs, problems, notes


def _tell_roots_apart(runs: Sequence[Run]) -> None:
    """Set ``root`` where a net was measured elsewhere than it was trained, or one recipe was trained on other files.

    The same files at two places, as two machines have them, are no reason.
    """
    roots: dict[str, set[str | None]] = defaultdict(set)
    homes = {run.net: run.metrics.get("root") for run in runs if run.is_training}
    contents: dict[tuple, dict[str, Any]] = defaultdict(dict)  # where each was found first
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


def _places(folders: Sequence[Path]) -> list[Path]:
    places: dict[Path, Path] = {}
    for top in folders:
        found = []
        if not top.is_dir():
            raise SegmentError(f"{top} is no folder: expected one that runs lie in, such as runs/")
        for path, names, files in os.walk(top):
            names[:] = [name for name in names if name not in PRUNED]
            folder = Path(path)
            unfinished = (folder / "checkpoints" / "last.ckpt").is_file()
            if {"metrics.json", "job.json"} & set(files) or unfinished:
                found.append(folder)
        for folder in sorted(found, key=_order):
            places.setdefault(folder.resolve(), folder)
    return list(places.values())


def _order(folder: Path) -> tuple:
    try:
        job = status(folder)
    except SegmentError:
        job = None
    names = [
        [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", part)]
        for part in folder.absolute().parts
    ]
    return names[:-1], job.started if job else "", names[-1]
