"""The comparison of all runs on one split of a data set: a table for people, and records for programs."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from segment.comparison.groups import Group, group_runs, measured_differently
from segment.comparison.importance import SearchResult, search_results
from segment.comparison.paired import paired_interval
from segment.comparison.run import Run
from segment.display.grid import Grid
from segment.display.metrics_table import percent
from segment.evaluation.intervals import Interval

HEADINGS = {
    "mIoU": "mean IoU",
    "pixel_accuracy": "pixel acc.",
    "mean_accuracy": "mean acc.",
    "frequency_weighted_IoU": "f.w. IoU",
}
"""Metrics of the table and their headings."""
PUBLISHED_TEXT = ("measured on", "source", "differs in")
"""Headings of the text about published scores."""
TIME = "time of an image"
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
        """Data set, split, number of images, and the protocol and precision that all groups share."""
        runs = [group.runs[0] for group in self.groups]
        same = [run for run in runs if run.has_net] or runs
        precisions = {run.metrics.get("precision") for run in same} - {None}
        values: dict[str, set[Any]] = {"": {run.protocol for run in same}, "precision ": precisions}
        equal = [f"{prefix}{found.pop()}" for prefix, found in values.items() if len(found) == 1]
        return ", ".join([self.title, f"{self.images} images", *equal])


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
            group.interval = paired_interval(group.counts) if group.counts else None
        title = f"{name} ({len(classes)} classes: {', '.join(classes)})" if names.count(name) > 1 else name
        divided = groups[0].is_divided
        section = Section(name, split, f"{title}, {split}{' split' * (not divided)}", groups, notes)
        _compare(section)
        _note_intervals(section)
        section.searches = search_results(members)
        section.notes += [f"best of {one.folder.name}: {one.best.command}" for one in section.searches]
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
        if found:
            section.differences.append((name, found))
        else:
            section.notes.append(f"{name}: not compared, fewer than two images with equal truth in common")


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
    section.notes += [
        f"95 %{', of the mean over seeds' * several}: {text}"
        for text in dict.fromkeys(sentence[1] for sentence in found)
    ]
    for rare in dict.fromkeys(sentence[2:] for sentence in found if sentence[2:]):
        labels = "; ".join(sentence[0] for sentence in found if sentence[2:] == rare)
        section.notes.append(f"{labels}: {rare[0]}, in truth or prediction")
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


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean of the values, and their sample standard deviation if there are two or more.

    Example:
        >>> mean_and_spread([0.5, 0.5]), mean_and_spread([0.5]), mean_and_spread([])
        ((0.5, 0.0), (0.5, None), (None, None))
    """
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def section_grids(section: Section) -> list[Grid]:
    """Return the table of the groups and, if there are any, of differences, searches and scores elsewhere."""
    grids = [_groups_grid(section)]
    if section.differences:
        title = f"difference in mean IoU, {section.title}, percentage points"
        rows = [
            [name, f"{100 * found.value:+.1f}", _interval_text(found, "+"), str(found.images)]
            for name, found in section.differences
        ]
        grids.append(Grid(title, ["nets", "difference", "95 %", "images"], rows))
    for search in section.searches:
        title = f"importance of {search.runs} runs' parameters in {search.folder.name}: variance of mean IoU, per cent"
        rows = [[key, percent(share), search.best_values.get(key, "-")] for key, share in search.importance.items()]
        grids.append(Grid(title, ["parameter", "importance", "best value"], rows, text=("best value",)))
    if section.elsewhere:
        drawn = section.data == LECTURE[0]
        images = "VOC" if drawn else f"other images than {section.title}"
        title = f"published on {images}: not comparable with these runs, per cent"
        timed = any(score[TIME] for score in section.elsewhere)
        cells = [
            {"net": score["net"]}
            | _published_cells(score)
            | ({TIME: score[TIME] or "-"} if timed else {})
            | ({} if drawn else {"differs in": _other_images(score, section)})
            for score in section.elsewhere
        ]
        grids.append(Grid(title, [*cells[0]], [[*row.values()] for row in cells], text=PUBLISHED_TEXT))
    return grids


def _other_images(score: dict[str, str], section: Section) -> str:
    """Return how the images of a published score differ from those of the runs."""
    if score["split"] == section.split:
        return f"{score['images'] or 'other'} images, not {section.images}"
    return f"split {score['split']}, not {section.split}" if score["split"] else "data set"


def _published_cells(score: dict[str, str]) -> dict[str, str]:
    """Return the cells of a published score by heading."""
    return {heading: score[metric] or "-" for metric, heading in HEADINGS.items()} | {
        key: score[key] for key in ("measured on", "source")
    }


def _groups_grid(section: Section) -> Grid:
    rows = [_group_row(section, group) for group in section.groups]
    headings = list(rows[0])
    text = (*section.groups[0].columns, *PUBLISHED_TEXT)
    grid = Grid(f"{section.heading}, per cent", headings, text=text)
    if len(rows) > 1 and not measured_differently([group.runs[0] for group in section.groups]):
        best = percent(max(group.mean_iou for group in section.groups))
        ties = (i for i, group in enumerate(section.groups) if group.scores("mIoU") and percent(group.mean_iou) == best)
        grid.strong = {(i, headings.index("mean IoU")) for i in ties}
    if section.published:
        grid.rules.add(len(rows))
    rows += [{"net": score["net"], **_published_cells(score)} for score in section.published]
    grid.rows = [[row.get(heading, "-") for heading in headings] for row in rows]
    return grid


def _group_row(section: Section, group: Group) -> dict[str, str]:
    """Return the cells of a group by heading."""
    scores = {heading: mean_and_spread(group.scores(metric)) for metric, heading in HEADINGS.items()}
    mean, deviation = scores.pop("mean IoU")
    row = {**group.columns, "seeds": str(len(group.seeds)) if group.runs[0].has_net else "-", "mean IoU": percent(mean)}
    if any(other.folds for other in section.groups):
        row = {**group.columns, "folds": str(len(group.folds)) if group.folds else "-", **row}
    if deviation is not None:
        row["mean IoU"] += f" ± {percent(deviation)}"
    if any(other.pooled_iou is not None for other in section.groups):
        row["pooled"] = percent(group.pooled_iou)
    if any(other.interval for other in section.groups):
        row["95 %"] = _interval_text(group.interval)
    row |= {heading: percent(mean) for heading, (mean, _) in scores.items()}
    if any(other.cost for other in section.groups):
        cost = group.cost
        row["params M"] = f"{cost.parameters / 1e6:.2f}" if cost else "-"
        row["ms an image"] = f"{1e3 * cost.seconds:.1f}" if cost else "-"
        row["memory MB"] = f"{cost.memory / 1e6:.0f}" if cost else "-"
    if section.published:
        row |= {"measured on": section.title, "source": "these runs"}
    return row


def _interval_text(interval: Interval | None, sign: str = "") -> str:
    return f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]" if interval else "-"


def section_records(section: Section) -> list[dict[str, Any]]:
    """Return a row of report.csv for each group and each published score: scores in 0..1, seconds and bytes."""
    rows = []
    for group in section.groups:
        row: dict[str, Any] = {"data set": section.title, "row": group.label, **group.columns, **group.settings}
        row["seeds"] = len(group.seeds)
        row |= {"folds": len(group.folds), "mIoU_pooled": group.pooled_iou} if group.folds else {}
        for metric in HEADINGS:
            row[metric], row[f"{metric}_deviation"] = mean_and_spread(group.scores(metric))
        row |= {"mIoU_low": group.interval.low, "mIoU_high": group.interval.high} if group.interval else {}
        row |= group.cost._asdict() if group.cost else {}
        rows.append(row | group.runs[0].measurement | {"root": group.runs[0].metrics.get("root")})
    for score in (*section.published, *section.elsewhere):
        numbers = {key: float(score[key]) / 100 for key in HEADINGS if score[key].replace(".", "").isdigit()}
        data = LECTURE[1] if section.data == LECTURE[0] else section.data
        rows.append({"data set": data, "row": score["net"], **score, **numbers})
    return rows
