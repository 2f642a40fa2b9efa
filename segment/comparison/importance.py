"""The parameters of a search: how much of the spread of the scores each explains, and the best run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segment.cli.overrides import REPEATED, matches_key, override_key
from segment.comparison.run import Run
from segment.records.job_status import JobRecord

MIN_RUNS = 5
"""Number of runs of a sweep from which on it is analysed."""
QUANTILES = 4
"""Number of equally full bins of a numeric parameter."""


@dataclass
class SearchResult:
    """A sweep or search whose runs are in one folder.

    Attributes:
        folder: folder of the sweep.
        runs: number of its runs.
        importance: share of the variance of the mIoU that each parameter explains, by its key; None if unknown.
        best: job of the run with the highest mIoU; of runs that differ in seed or fold alone, the mean counts.
        repeats: number of runs that the mean is of.

    Example:
        >>> SearchResult(Path("runs/sweep"), 5, {"loss": 0.25}, JobRecord(["loss=dice"])).best_values
        {'loss': 'dice'}
    """

    folder: Path
    runs: int
    importance: dict[str, float | None]
    best: JobRecord
    repeats: int = 1

    @property
    def best_values(self) -> dict[str, str]:
        """The value of each parameter in the best run."""
        return {key: value for key, value in override_values(self.best).items() if key in self.importance}


def search_results(runs: Sequence[Run]) -> list[SearchResult]:
    """Analyse each sweep with five runs or more that has a parameter in which they differ."""
    sweeps = defaultdict[Path, list[tuple[JobRecord, float]]](list)
    for run in runs:
        if run.job and run.metrics["mIoU"] is not None:
            sweeps[run.folder.path.absolute().parent].append((run.job, run.metrics["mIoU"]))
    results = []
    for folder, jobs in sweeps.items():
        values = [
            {key: value for key, value in override_values(job).items() if not matches_key(key, REPEATED)}
            for job, _ in jobs
        ]
        scores = np.array([score for _, score in jobs])
        columns = {key: [one.get(key, "") for one in values] for key in dict.fromkeys(k for one in values for k in one)}
        found = {key: importance(column, scores) for key, column in columns.items() if len({*column}) > 1}
        if found and len(jobs) >= MIN_RUNS:
            ranked = dict(sorted(found.items(), key=lambda item: -(item[1] or 0)))
            repeats = defaultdict[frozenset, list[int]](list)  # positions of the runs of one setting
            for position, one in enumerate(values):
                repeats[frozenset(one.items())].append(position)
            best = max(repeats.values(), key=lambda positions: scores[positions].mean())
            results.append(SearchResult(folder, len(jobs), ranked, jobs[best[0]][0], len(best)))
    return results


def override_values(job: JobRecord) -> dict[str, str]:
    """Return the value of each override of a job by its key."""
    return {override_key(one).lstrip("+~"): one.partition("=")[2] for one in job.overrides}


def importance(values: Sequence[str], scores: np.ndarray) -> float | None:
    """Return the share of the variance of scores (N,) that a parameter explains, adjusted for chance (epsilon squared).

    Runs with an equal value are a group. Numbers with more than four values are divided into four equally full groups.

    Returns:
        The share in 0..1; None if there are no more runs than groups, or all scores are equal.

    Example:
        >>> importance(["a", "a", "b", "b"], np.array([0.2, 0.2, 0.8, 0.8]))
        1.0
    """
    group = np.unique(_binned(values), return_inverse=True)[1]
    runs, groups = len(scores), int(group.max()) + 1
    total = float(np.square(scores - scores.mean()).sum())
    if runs <= groups or groups < 2 or np.ptp(scores) < 1e-9:
        return None
    means = np.bincount(group, scores) / np.bincount(group)
    within = float(np.square(scores - means[group]).sum())
    return max(0.0, 1 - within / (runs - groups) * (runs - 1) / total)


def _binned(values: Sequence[str]) -> np.ndarray:
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return np.array(values)
    if len({*values}) <= QUANTILES:
        return numbers
    return np.searchsorted(np.sort(numbers), numbers) * QUANTILES // len(numbers)
