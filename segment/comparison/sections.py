"""The comparison of all runs on one split of a data set."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from segment.comparison.groups import Group, group_runs
from segment.comparison.importance import SearchResult, search_results
from segment.comparison.paired import paired_interval
from segment.comparison.run import Run
from segment.evaluation.intervals import Interval

LECTURE = ("shapes", "voc", "Long et al., CVPR 2015")
"""Data set whose images are drawn, and the data set and the source of the scores that a report of it has apart."""
ALL_PAIRS = 4
"""Number of groups up to which each pair is compared; more groups are compared with the best one."""


@dataclass
class Section:
    """Groups of runs on one split of a data set, and their differences.

    Attributes:
        data: name of the data set.
        split: name of the split.
        title: name of the data set, with the classes if another one has the same name, and split.
        groups: see :class:`segment.comparison.groups.Group`.
        notes: lines below the tables.
        differences: names of two groups, and the interval of their difference in mIoU.
        published: published scores on the same split, and ``elsewhere`` those on other images of the data set.
        searches: the parameters of each sweep with five runs or more, and its best run.

    Example:
        >>> section = Section("voc", "val", "voc, val split", groups=[], notes=[], elsewhere=published_scores("voc"))
        >>> section.elsewhere[1]["net"], section.elsewhere[1]["mIoU"]
        ('FCN-32s', '59.4')
    """

    data: str
    split: str
    title: str
    groups: list[Group]
    notes: list[str]
    differences: list[tuple[str, Interval]] = field(default_factory=list)
    published: list[dict[str, str]] = field(default_factory=list)
    elsewhere: list[dict[str, str]] = field(default_factory=list)
    searches: list[SearchResult] = field(default_factory=list)

    @property
    def images(self) -> str:
        """The number of images on which each group was evaluated."""
        return " and ".join(sorted({str(group.runs[0].measurement["images"]) for group in self.groups}))

    @property
    def heading(self) -> str:
        """Data set, split, number of images, and the protocol and precision that all groups, or all nets, share."""
        runs = [group.runs[0] for group in self.groups]
        same = [run for run in runs if run.has_net] or runs
        precisions = {run.metrics.get("precision") for run in same} - {None}
        values: dict[str, set[Any]] = {"": {run.protocol for run in same}, "precision ": precisions}
        equal = ", ".join(f"{prefix}{found.pop()}" for prefix, found in values.items() if len(found) == 1)
        shared = [f"{'nets: ' * (len(same) < len(runs))}{equal}"] if equal else []
        return ", ".join([self.title, f"{self.images} images", *shared])


def build_sections(runs: Sequence[Run], paper: bool) -> list[Section]:
    """Return a section for each split of each data set; ``paper`` adds published scores."""
    by_split: dict[tuple, list[Run]] = {}
    for run in runs:
        by_split.setdefault((run.data, run.split), []).append(run)
    result = []
    names = [name for name, _ in {data for data, _ in by_split}]
    for ((name, classes), split), members in by_split.items():
        groups, notes = group_runs(members)
        for group in groups:
            if group.counts:
                found = paired_interval(group.counts)
                group.interval = found if found.exists else None
                notes += [] if found.exists else [f"{group.label}: {found.note}"]
        title = f"{name} ({len(classes)} classes: {', '.join(classes)})" if names.count(name) > 1 else name
        divided = groups[0].is_divided
        section = Section(name, split, f"{title}, {split}{' split' * (not divided)}", groups, notes)
        _compare(section)
        _note_intervals(section)
        section.searches = search_results(members)
        for one in section.searches:
            repeats = f", as the mean of {one.repeats} runs" if one.repeats > 1 else ""
            section.notes.append(f"best of {one.folder.name}{repeats}: {one.best.command}")
        if paper:
            _add_published(section)
        result.append(section)
    return result


def _add_published(section: Section) -> None:
    """Add the published scores: those on the same images beside the runs, the others apart."""
    if section.data == LECTURE[0]:
        section.elsewhere += [score for score in published_scores(LECTURE[1]) if score["source"] == LECTURE[2]]
        return
    scores = published_scores(section.data)
    if not scores:
        section.notes.append(f"--paper: no published scores are known for {section.data}")
    for score in scores:
        same = (score["split"], score["images"]) == (section.split, section.images)
        (section.published if same else section.elsewhere).append(score)


def _compare(section: Section) -> None:
    """Add the differences between groups that have counts of each image."""
    ranked = sorted((group for group in section.groups if group.counts), key=lambda group: -group.mean_iou)
    pairs = combinations(ranked, 2) if len(ranked) <= ALL_PAIRS else [(ranked[0], other) for other in ranked[1:]]
    for better, other in pairs:
        name = f"{better.label} minus {other.label}"
        found = paired_interval(better.counts, other.counts)
        if not found.exists:
            few = "fewer than two images with equal truth in common" if found.images < 2 else found.note
            section.notes.append(f"{name}: not compared, {few}")
            continue
        section.differences.append((name, found))
        if found.note and not any(one.interval and one.interval.note == found.note for one in (better, other)):
            section.notes.append(f"{name}: {found.note}")


def _note_intervals(section: Section) -> None:
    """Add notes on what the intervals say, and on groups without one."""
    if without := [group.label for group in section.groups if not group.counts]:
        section.notes.append(f"no intervals, since a run has no per_image.npz: {', '.join(without)}")
    for group in section.groups:
        if group.interval and group.interval.images < (total := len(group.counts[0].ids)):
            some = f"{group.interval.images} of {total} images"
            section.notes.append(
                f"{group.label}: the interval is over the {some} that have labels and that all runs share"
            )
        if group.interval and group.interval.note:
            section.notes.append(f"{group.label}: {group.interval.note}")
    repeats = [
        name
        for name, found in (("seeds", lambda group: group.seeds), ("folds", lambda group: group.folds))
        if any(len(found(group)) > 1 for group in section.groups)
    ]
    for group in section.groups:
        if missing := missing_folds(group):
            section.notes.append(f"{group.label}: these scores lack the folds {', '.join(map(str, missing))}")
    several = "seeds" in repeats
    found = [(group.label, *group.interval.describe().split("; ")) for group in section.groups if group.interval]
    texts = dict.fromkeys(sentence[1] for sentence in found)
    for text in texts:
        labels = "; ".join(sentence[0] for sentence in found if sentence[1] == text)
        start = f"{labels}: " if len(texts) > 1 else ""
        section.notes.append(f"{start}95 %{', of the mean over seeds' * several}: {text}")
    for rare in dict.fromkeys(sentence[2:] for sentence in found if sentence[2:]):
        labels = "; ".join(sentence[0] for sentence in found if sentence[2:] == rare)
        section.notes.append(f"{labels}: {rare[0]}")
    if repeats:
        section.notes.append(f"±: standard deviation over {' and '.join(repeats)}")
    if any(group.pooled_iou is not None for group in section.groups):
        section.notes.append("pooled: mean IoU of the pixels of all folds together, which the interval belongs to")


def missing_folds(group: Group) -> list[int]:
    """Return the folds of a cross-validation for which a seed of the group has no run."""
    number = group.runs[0].config.get("data.folds")
    if not group.folds or not isinstance(number, int):
        return []
    have = {(str(run.seed), run.fold) for run in group.runs}
    return [fold for fold in range(min(number, 1000)) if any((seed, fold) not in have for seed in group.seeds)]


def published_scores(data: str) -> list[dict[str, str]]:
    """Return the published scores on a data set, each with its split and source."""
    with Path(__file__).with_name("published.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.pop("data") == data]
