"""Tables of the page: classes with their shares, and measured regions, as HTML and as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from segment.data.classes import BACKGROUND
from segment.display.colours import class_colours
from segment.effects.measuring import MeasuredRegion
from segment.page.photos import SegmentedPhoto

ROWS_SHOWN = 20
"""Number of regions that the page shows; the CSV has all."""


def legend_table(photo: SegmentedPhoto) -> str:
    """Return the classes that occur, the largest first: colour, name, share in per cent and mean confidence."""
    rows = []
    for label in photo.labels:
        name, colour = photo.found.classes.names[label], class_colours(photo.found.classes)[label].tolist()
        style = "" if name == BACKGROUND else f" style='background:rgb{tuple(colour)}'"
        share = photo.share(label)
        bar = f"<span class='bar'><span style='width:{100 * share:.1f}%'></span></span>"
        cells = f"<td>{bar}</td><td>{per_cent(share)}</td><td>{per_cent(photo.confidence[label])}</td>"
        rows.append(f"<tr><th scope='row'><i{style}></i>{escape(name)}</th>{cells}</tr>")
    return _table("legend", ("class", "", "share", "confidence"), rows)


def region_table(regions: Sequence[MeasuredRegion], names: Sequence[str], unit: str) -> str:
    """Return the largest measured regions, and how many there are.

    Args:
        regions: the regions.
        names: names of the net's classes.
        unit: unit of length, such as "pixels".
    """
    largest = sorted(regions, key=lambda region: -region.area)[:ROWS_SHOWN]
    rows = [
        f"<tr><th scope='row'>{escape(names[one.label])} {one.number}</th><td>{number(one.area)}</td>"
        f"<td>{number(one.diameter)}</td><td>{number(one.length)}</td></tr>"
        for one in largest
    ]
    count = f"{len(regions)} connected region{'s' * (len(regions) != 1)}"
    more = f"; the {ROWS_SHOWN} largest are shown, the table to download has all" * (len(regions) > ROWS_SHOWN)
    shown = escape(unit)
    heading = ("region", f"area (square {shown})", f"diameter ({shown})", f"length ({shown})")
    return f"<p>{count}{more}.</p>" + _table("regions", heading, rows) * bool(rows)


def agreement_line(photos: Sequence[SegmentedPhoto]) -> str:
    """Return the share of pixels to which all nets give the same class; empty if there is nothing to compare."""
    first, *others = (photo.found for photo in photos)
    if not others or any(one.classes.names != first.classes.names for one in others):
        return ""
    agree = np.logical_and.reduce([one.mask == first.mask for one in others]).mean()
    return f"<p>The nets agree on {per_cent(float(agree))} of the pixels.</p>"


def problem_line(text: str) -> str:
    """Return a sentence about a problem."""
    sentence = text[:1].upper() + text[1:]
    return f"<p class='problem' role='alert'>{escape(sentence.removesuffix('.'))}.</p>"


def per_cent(share: float) -> str:
    """Return a share from 0 to 1 in per cent; a dash for NaN."""
    if math.isnan(share):
        return "-"
    return "&lt; 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Return a number with three significant digits or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def legend_csv(photo: SegmentedPhoto) -> str:
    """Return the classes that occur as CSV: pixels, share and mean confidence from 0 to 1."""
    counts = photo.found.counts()
    names = [photo.found.classes.names[label] for label in photo.labels]
    rows = zip(names, photo.labels, strict=True)
    return _csv(
        ("class", "pixels", "share", "confidence"),
        ((name, counts[name], photo.share(label), _without_nan(photo.confidence[label])) for name, label in rows),
    )


def region_csv(regions: Sequence[MeasuredRegion], names: Sequence[str]) -> str:
    """Return measured regions as CSV, with the columns of segment.apply but for the image."""
    return _csv(("class", *MeasuredRegion._fields[1:]), ((names[one.label], *one[1:]) for one in regions))


def _table(kind: str, heading: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th scope='col'>{title}</th>" for title in heading)
    return f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _without_nan(value: float) -> float | str:
    return "" if math.isnan(value) else float(value)


def _csv(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue()
