"""The tables of a comparison: for people, and as records for programs."""

import re
from collections.abc import Callable, Collection, Sequence
from statistics import fmean, stdev
from typing import Any

from segment.comparison.groups import Group, measured_differently
from segment.comparison.sections import LECTURE, Section
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
MAX_FURTHER = 8
"""Number of the user's own metrics in the table for people; the file for programs has all."""


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
    has: dict[str, Callable[[Group], object]] = {
        "folds": lambda group: group.folds,
        "pooled": lambda group: group.pooled_iou is not None,
        "95 %": lambda group: group.interval,
        "cost": lambda group: group.cost,
    }
    shown = {name for name, test in has.items() if any(map(test, section.groups))}
    names = dict.fromkeys(name for group in section.groups for name in group.further_scores if "/" not in name)
    further = list(names)[:MAX_FURTHER]
    rows = [_group_row(section, group, shown, further) for group in section.groups]
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


def _group_row(section: Section, group: Group, shown: Collection[str], further: Sequence[str]) -> dict[str, str]:
    """Return the cells of a group by heading.

    Args:
        shown: names of the cells that not all sections have.
        further: names of the user's own metrics that have a column.
    """
    scores = {heading: mean_and_spread(group.scores(metric)) for metric, heading in HEADINGS.items()}
    mean, deviation = scores.pop("mean IoU")
    row = {**group.columns, "seeds": str(len(group.seeds)) if group.runs[0].has_net else "-", "mean IoU": percent(mean)}
    if "folds" in shown:
        row = {**group.columns, "folds": str(len(group.folds)) if group.folds else "-", **row}
    if deviation is not None:
        row["mean IoU"] += f" ± {percent(deviation)}"
    if "pooled" in shown:
        row["pooled"] = percent(group.pooled_iou)
    if "95 %" in shown:
        row["95 %"] = _interval_text(group.interval)
    row |= {heading: percent(mean) for heading, (mean, _) in scores.items()}
    for name in further:
        values = group.further_scores.get(name)
        row[f"val/{name}"] = f"{fmean(values):.4g}" if values else "-"
    if "cost" in shown:
        cost = group.cost
        row["params M"] = f"{cost.parameters / 1e6:.2f}" if cost else "-"
        row["ms an image"] = f"{1e3 * cost.seconds:.1f}" if cost else "-"
        row["memory MB"] = f"{cost.memory / 1e6:.0f}" if cost else "-"
    if section.published:
        row |= {"measured on": section.title, "source": "these runs"}
    return row


def _interval_text(interval: Interval | None, sign: str = "") -> str:
    return f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]" if interval else "-"


def _as_shares(text: str) -> float | str:
    """Return a published score in per cent, or a range of two, as shares."""
    shares = re.sub(r"[\d.]+", lambda found: f"{float(found[0]) / 100:g}", text)
    return float(shares) if shares and " " not in shares else shares


def section_records(section: Section) -> list[dict[str, Any]]:
    """Return a row of report.csv for each group and each published score: scores in 0..1, seconds and bytes."""
    rows = []
    for group in section.groups:
        row: dict[str, Any] = {"data set": section.title, "row": group.label, **group.columns, **group.settings}
        row["seeds"] = len(group.seeds)
        row |= {"folds": len(group.folds), "mIoU_pooled": group.pooled_iou} if group.folds else {}
        for metric in HEADINGS:
            row[metric], row[f"{metric}_deviation"] = mean_and_spread(group.scores(metric))
        for name, values in group.further_scores.items():
            row[f"val/{name}"], row[f"val/{name}_deviation"] = mean_and_spread(values)
        row |= {"mIoU_low": group.interval.low, "mIoU_high": group.interval.high} if group.interval else {}
        row |= group.cost._asdict() if group.cost else {}
        rows.append(row | group.runs[0].measurement | {"root": group.runs[0].metrics.get("root")})
    for score in (*section.published, *section.elsewhere):
        numbers = {key: _as_shares(score[key]) for key in HEADINGS}
        data = LECTURE[1] if section.data == LECTURE[0] else section.data
        rows.append({"data set": data, "row": score["net"], **score, **numbers})
    return rows
