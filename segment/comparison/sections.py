"""The comparison of all runs on one data set: a table for people, and records for programs."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from segment.comparison.groups import Group, group_runs
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
ALL_PAIRS = 4
"""Number of groups up to which each pair is compared; more groups are compared with the best one."""


@dataclass
class Section:
    """Groups of runs on one data set, and their differences.

    Attributes:
        data: name of the data set.
        title: the name, with the classes if another data set has the same name.
        groups: see :class:`segment.comparison.groups.Group`.
        notes: lines below the tables.
        differences: names of two groups, and the interval of their difference in mIoU.
        published: published scores on this data set.

    Example:
        >>> section = Section("voc", "voc", groups=[], notes=[], published=published_scores("voc"))
        >>> section.published[1]["net"], section.published[1]["mIoU"]
        ('FCN-32s', '59.4')
    """

    data: str
    title: str
    groups: list[Group]
    notes: list[str]
    differences: list[tuple[str, Interval]] = field(default_factory=list)
    published: list[dict[str, str]] = field(default_factory=list)


def build_sections(runs: Sequence[Run], paper: bool) -> list[Section]:
    """Return a section for each data set; ``paper`` adds published scores."""
    by_data: dict[tuple, list[Run]] = {}
    for run in runs:
        by_data.setdefault(run.data, []).append(run)
    result = []
    names = [name for name, _ in by_data]
    for (name, classes), members in by_data.items():
        groups, notes = group_runs(members)
        for group in groups:
            group.interval = paired_interval(group.counts) if group.counts else None
        title = f"{name} ({len(classes)} classes: {', '.join(classes)})" if names.count(name) > 1 else name
        section = Section(name, title, groups, notes)
        _compare(section)
        _note_intervals(section)
        if paper:
            section.published = published_scores(name)
            if not section.published:
                notes.append(f"--paper: no published scores are known for {name}")
        result.append(section)
    return result


def _compare(section: Section) -> None:
    """Add the differences between groups that have counts of each image."""
    ranked = sorted((group for group in section.groups if group.counts), key=lambda group: -group.mean_iou)
    pairs = combinations(ranked, 2) if len(ranked) <= ALL_PAIRS else [(ranked[0], other) for other in ranked[1:]]
    for better, other in pairs:
        name = f"{better.label} - {other.label}"
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
    covers = dict.fromkeys(group.interval.describe() for group in section.groups if group.interval)
    section.notes += [f"95 %, of the mean over seeds: {text}" for text in covers]
    if covers:
        section.notes.append("±: standard deviation over seeds")


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
    """Return the table of the groups and, if there are two or more, the table of their differences."""
    differences = Grid("difference in mean IoU, percentage points", ["nets", "difference", "95 %", "images"])
    for name, found in section.differences:
        row = [name, f"{100 * found.value:+.1f}", _interval_text(found, "+"), str(found.images)]
        differences.rows.append(row)
    return [_groups_grid(section), differences] if section.differences else [_groups_grid(section)]


def _groups_grid(section: Section) -> Grid:
    rows = [_group_row(section, group) for group in section.groups]
    headings = list(rows[0])
    firsts = [group.runs[0] for group in section.groups]
    splits, images = (
        " and ".join(sorted({str(run.metrics.get(key)) for run in firsts})) for key in ("split", "images")
    )
    grid = Grid(
        f"{section.title}, {splits} split, {images} images, per cent",
        headings,
        text=(*section.groups[0].columns, "measured on", "source"),
    )
    if len(firsts) > 1 and len({repr(run.measurement) for run in firsts}) == 1:
        best = max(range(len(firsts)), key=lambda i: section.groups[i].mean_iou)
        grid.strong.add((best, headings.index("mean IoU")))
    if section.published:
        grid.rules.add(len(rows))
    for score in section.published:
        scores = {heading: score[metric] or "-" for metric, heading in HEADINGS.items()}
        sources = {key: score[key] for key in ("measured on", "source")}
        rows.append({headings[0]: score["net"], **scores, **sources})
    grid.rows = [[row.get(heading, "-") for heading in headings] for row in rows]
    return grid


def _group_row(section: Section, group: Group) -> dict[str, str]:
    """Return the cells of a group by heading."""
    scores = {heading: mean_and_spread(group.scores(metric)) for metric, heading in HEADINGS.items()}
    mean, deviation = scores.pop("mean IoU")
    row = group.columns or {"net": group.label}
    row = {**row, "seeds": str(len(group.seeds)), "mean IoU": percent(mean)}
    if deviation is not None:
        row["mean IoU"] += f" ± {percent(deviation)}"
    if any(other.interval for other in section.groups):
        row["95 %"] = _interval_text(group.interval)
    row |= {heading: percent(mean) for heading, (mean, _) in scores.items()}
    if any(other.cost for other in section.groups):
        cost = group.cost
        row["params M"] = f"{cost.parameters / 1e6:.2f}" if cost else "-"
        row["forward ms"] = f"{1e3 * cost.seconds:.1f}" if cost else "-"
        row["memory MB"] = f"{cost.memory / 1e6:.0f}" if cost else "-"
    if section.published:
        row |= {"measured on": f"{section.title} {group.runs[0].metrics.get('split')}", "source": "these runs"}
    return row


def _interval_text(interval: Interval | None, sign: str = "") -> str:
    return f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]" if interval else "-"


def section_records(section: Section) -> list[dict[str, Any]]:
    """Return a row of report.csv for each group and each published score: scores in 0..1, seconds and bytes."""
    rows = []
    for group in section.groups:
        row: dict[str, Any] = {"data set": section.title, "net": group.label, **group.columns, **group.settings}
        row["seeds"] = len(group.seeds)
        for metric in HEADINGS:
            row[metric], row[f"{metric}_deviation"] = mean_and_spread(group.scores(metric))
        row |= {"mIoU_low": group.interval.low, "mIoU_high": group.interval.high} if group.interval else {}
        row |= group.cost._asdict() if group.cost else {}
        rows.append(row | group.runs[0].measurement | {"root": group.runs[0].metrics.get("root")})
    for score in section.published:
        numbers = {key: float(score[key]) / 100 for key in HEADINGS if score[key].replace(".", "").isdigit()}
        rows.append({"data set": section.title, **score, **numbers})
    return rows
