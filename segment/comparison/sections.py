"""The runs on one data set, as a table for people and as records for programs."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from segment.comparison.groups import Group, group_runs
from segment.comparison.paired import paired_interval
from segment.comparison.run import Run
from segment.display.grid import Grid
from segment.display.metrics_table import percent
from segment.evaluation.intervals import Interval

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.models.costs.measured import MeasuredCost

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
    """Groups of runs on one data set, with their intervals, costs and differences.

    Attributes:
        data: name of the data set.
        title: the name, with the classes if another data set has the same name.
        groups: see :class:`segment.comparison.groups.Group`.
        notes: lines below the tables.
        intervals, costs: of each group; None where unknown.
        differences: pairs of groups and the interval of their difference.
        published: published scores on this data set.
    """

    data: str
    title: str
    groups: list[Group]
    notes: list[str]
    intervals: list[Interval | None]
    costs: list["MeasuredCost | None"]
    differences: list[tuple[str, Interval]] = field(default_factory=list)
    published: list[dict[str, str]] = field(default_factory=list)


def build_sections(runs: Sequence[Run], paper: bool) -> list[Section]:
    """Return a section for each data set, with intervals; ``paper`` adds published scores."""
    by_data: dict[tuple, list[Run]] = {}
    for run in runs:
        by_data.setdefault(run.data, []).append(run)
    result = []
    names = [name for name, _ in by_data]
    for (name, classes), members in by_data.items():
        groups, notes = group_runs(members)
        intervals = [paired_interval(one.counts) if one.counts else None for one in groups]
        title = f"{name} ({len(classes)} classes: {', '.join(classes)})" if names.count(name) > 1 else name
        section = Section(name, title, groups, notes, intervals, [None] * len(groups))
        _compare(section)
        if paper:
            section.published = published_scores(name)
            if not section.published:
                notes.append(f"--paper: no published scores are known for {name}")
        result.append(section)
    return result


def _compare(section: Section) -> None:
    """Add the differences between groups, from the runs' counts of each image."""
    counted = [one for one in section.groups if one.counts]
    if len(counted) < len(section.groups):
        without = ", ".join(one.label for one in section.groups if not one.counts)
        section.notes.append(f"no intervals, since a run has no per_image.npz: {without}")
    for one, interval in zip(section.groups, section.intervals, strict=True):
        if interval and interval.images < len(one.counts[0].ids):
            section.notes.append(
                f"{one.label}: its interval is that of the {interval.images} images that all runs share"
            )
    ranked = sorted(counted, key=lambda one: -one.mean_iou)
    pairs = combinations(ranked, 2) if len(ranked) <= ALL_PAIRS else [(ranked[0], other) for other in ranked[1:]]
    for better, other in pairs:
        name = f"{better.label} - {other.label}"
        found = paired_interval(better.counts, other.counts)
        if found:
            section.differences.append((name, found))
        else:
            section.notes.append(f"{name}: not compared, fewer than two images with equal truth in common")
    known = [interval for interval in section.intervals if interval]
    if known:
        rare = max(interval.rare_classes for interval in known)
        section.notes.append(
            f"95 %: jackknife over {known[0].images} images, of the mean over seeds; it is about the choice of images, "
            f"not about seeds{f', and {rare} classes occur in fewer than five images' if rare else ''}; "
            "±: standard deviation over seeds"
        )


def published_scores(data: str) -> list[dict[str, str]]:
    """Return the published scores on a data set, each with its split and source."""
    with Path(__file__).with_name("published.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.pop("data") == data]


def format_interval(interval: Interval | None, sign: str = "") -> str:
    """Return an interval in per cent; "-" for None."""
    return f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]" if interval else "-"


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean, and the sample standard deviation of more than one value."""
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def section_grids(section: Section) -> list[Grid]:
    """Return the table of the groups, and the table of the differences between them."""
    firsts = [one.runs[0] for one in section.groups]
    names = list(section.groups[0].values) or ["net"]
    cost, paper = any(section.costs), bool(section.published)
    sure = any(section.intervals)
    headings = [*names, "seeds", "mean IoU", *(["95 %"] * sure), *list(HEADINGS.values())[1:]]
    headings += ["params M", "forward ms", "memory MB"] * cost + ["measured on", "source"] * paper
    splits, images = (" and ".join(sorted({str(run.metrics.get(k)) for run in firsts})) for k in ("split", "images"))
    grid = Grid(
        f"{section.title}, {splits} split, {images} images, per cent",
        headings,
        text_columns=len(names),
        right_text=frozenset({"source", "measured on"}),
    )
    for one, interval, price in zip(section.groups, section.intervals, section.costs, strict=True):
        means = [mean_and_spread(one.scores(metric)) for metric in HEADINGS]
        deviation = f" ± {percent(means[0][1])}" if means[0][1] is not None else ""
        row = [*(one.values.values() or [one.label]), str(len(one.seeds)), percent(means[0][0]) + deviation]
        row += [
            *([format_interval(interval)] * sure),
            *(percent(mean) for mean, _ in means[1:]),
            *(_cost(price) * cost),
        ]
        row += [f"{section.title} {one.runs[0].metrics.get('split')}", "these runs"] * paper
        grid.rows.append(row)
    if len(firsts) > 1 and len({repr(run.measurement) for run in firsts}) == 1:
        best = max(range(len(firsts)), key=lambda i: section.groups[i].mean_iou)
        grid.strong.add((best, headings.index("mean IoU")))
    if paper:
        grid.rules.add(len(grid.rows))
    for known in section.published:
        row = [known["net"], *[""] * (len(names) - 1), "-", known["mIoU"], *(["-"] * sure)]
        row += [*(known[metric] or "-" for metric in list(HEADINGS)[1:]), *(["-"] * 3 * cost)]
        grid.rows.append([*row, known["measured on"], known["source"]])
    second = Grid("difference in mean IoU, percentage points", ["nets", "difference", "95 %", "images"])
    for name, found in section.differences:
        second.rows.append([name, f"{100 * found.value:+.1f}", format_interval(found, "+"), str(found.images)])
    return [grid, second] if section.differences else [grid]


def _cost(cost: "MeasuredCost | None") -> list[str]:
    if cost is None:
        return ["-"] * 3
    return [f"{cost.parameters / 1e6:.2f}", f"{1e3 * cost.seconds:.1f}", f"{cost.memory / 1e6:.0f}"]


def section_records(section: Section) -> list[dict[str, Any]]:
    """Return a row of report.csv for each group and published net: scores in 0..1, seconds and bytes."""
    rows = []
    for one, interval, cost in zip(section.groups, section.intervals, section.costs, strict=True):
        row: dict[str, Any] = {
            "data set": section.title,
            "net": one.label,
            **one.values,
            **one.settings,
            "seeds": len(one.seeds),
        }
        for metric in HEADINGS:
            row[metric], row[f"{metric}_deviation"] = mean_and_spread(one.scores(metric))
        row |= {"mIoU_low": interval.low, "mIoU_high": interval.high} if interval else {}
        row |= cost._asdict() if cost else {}
        rows.append(row | one.runs[0].measurement)
    for known in section.published:
        numbers = {key: float(known[key]) / 100 for key in HEADINGS if known[key].replace(".", "").isdigit()}
        rows.append({"data set": section.title, **known, **numbers})
    return rows
