"""Tables of the page: escaped, sorted, and with the numbers that are in the masks."""

import csv
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from segment.data.datasets.voc import VOC
from segment.display.pictures import overlay
from segment.effects import MeasuredRegion
from segment.page.photos import SegmentedPhoto
from segment.page.tables import (
    agreement_line,
    legend_csv,
    legend_table,
    number,
    per_cent,
    problem_line,
    region_csv,
    region_table,
)
from segment.prediction.segmenter import Segmentation


def cells(table: str) -> list[list[str]]:
    """Return the texts of the cells of each row of a table's body."""
    body = table.partition("<tbody>")[2]
    rows = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", body)]
    return [[text for cell in row if (text := re.sub("<[^>]*>", "", cell))] for row in rows]


def test_the_legend(seen):
    table = legend_table(seen)
    assert cells(table) == [
        ["background", "75.0 %", "90.0 %"],
        ["&lt;b&gt;sea &amp; sky", "25.0 %", "75.0 %"],
        ["sail", "&lt; 0.1 %", "-"],
    ]
    assert re.findall(r"background:rgb\(([^)]*)\)", table) == ["0, 0, 255", "255, 0, 0"]  # the background is clear


def test_the_legend_has_the_colours_of_the_overlay():
    """VOC's motorbike looks like its bus, so that overlays show it in another colour."""
    label = VOC.names.index("motorbike")
    found = Segmentation(np.zeros((1, 1, 3), np.uint8), np.array([[label]], np.uint8), VOC)
    opaque = overlay(found.image, found.mask, VOC, opacity=1.0)[0, 0].tolist()
    table = legend_table(SegmentedPhoto("a", found, np.full(len(VOC), 0.5)))
    assert opaque != [*VOC.palette[label]]
    assert re.findall(r"background:rgb\(([^)]*)\)", table) == [", ".join(map(str, opaque))]


def test_the_legend_as_csv(seen):
    assert [*csv.reader(StringIO(legend_csv(seen)))] == [
        ["class", "pixels", "share", "confidence"],
        ["background", "1499", "0.7495", "0.9"],
        ["<b>sea & sky", "500", "0.25", "0.75"],
        ["sail", "1", "0.0005", ""],
    ]


def test_regions():
    regions = [MeasuredRegion(1, i + 1, 30.0 - i, 6.18, 1234.5, 1.0, 2.0) for i in range(25)]
    table = region_table(regions, ["background", "<i>"], "<mm>")
    assert cells(table)[0] == ["&lt;i&gt; 1", "30", "6.18", "1,234"]
    assert len(cells(table)) == 20
    assert "25 connected regions; the 20 largest are shown" in table
    assert "area (square &lt;mm&gt;)" in table
    rows = [*csv.DictReader(StringIO(region_csv(regions, ["background", "cell"])))]
    assert len(rows) == 25
    assert (rows[0]["class"], rows[0]["area"], rows[0]["x"]) == ("cell", "30.0", "1.0")
    assert region_table([], ["a"], "mm") == "<p>0 connected regions.</p>"


def test_agreement(seen):
    other = replace(seen, found=replace(seen.found, mask=np.zeros_like(seen.found.mask)))
    assert agreement_line([seen]) == ""
    assert agreement_line([seen, seen, other]) == "<p>The nets agree on 75.0 % of the pixels.</p>"
    named = replace(seen.found.classes, names=("a", "b", "c", "d"))
    mask = seen.found.mask
    assert agreement_line([seen, replace(seen, found=Segmentation(seen.found.image, mask, named))]) == ""


def test_a_problem_is_a_sentence():
    assert ">There is &lt;no&gt; photo.</p>" in problem_line("there is <no> photo")
    assert problem_line("a.").count(".") == 1


@pytest.mark.parametrize(("share", "shown"), [(0, "0.0 %"), (0.0009, "&lt; 0.1 %"), (0.125, "12.5 %"), (1, "100.0 %")])
def test_shares(share, shown):
    assert per_cent(share) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.0123456, "0.0123"), (12.345, "12.3"), (123456.7, "123,457")])
def test_numbers(value, shown):
    assert number(value) == shown
