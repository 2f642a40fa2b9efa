"""The table of an effect: its rows, what is kept of it on the disk, and what it may not replace."""

import csv

import numpy as np
import pytest

from segment.effects import MeasuredRegion, WatchedPart
from segment.errors import SegmentError
from segment.prediction.row_table import RowTable
from segment.prediction.video import VideoFrame


def rows_of(table):
    with table.path.open() as file:
        return list(csv.DictReader(file))


def test_a_table_has_the_rows_of_this_command_alone(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    first = RowTable(tmp_path, "measure")
    for path in paths:
        first.add(path, "scale 1", [MeasuredRegion(0, 1, 2.0, 1.6, 2.2, 1.0, 1.0)])
    first.write(["cell"])
    second = RowTable(tmp_path, "measure")
    assert second.has(paths[0], "scale 1")
    assert not second.has(paths[1], "scale 2")  # and then it could not be read
    second.write(["cell"])
    assert [(row["image"], row["class"], row["area"]) for row in rows_of(second)] == [(str(paths[0]), "cell", "2.0")]


def test_frames_have_a_number_and_a_time_and_images_none(tmp_path):
    table, image = RowTable(tmp_path, "alert"), np.zeros((1, 1, 3), np.uint8)
    table.add(tmp_path / "a.png", "o", WatchedPart(0.25, False))
    for number in (1, 2, 3):
        table.add(
            tmp_path / "b.mp4", "o", WatchedPart(0.5, number > 1), VideoFrame(number, image, number, 1, number / 3)
        )
    assert f"alert  {tmp_path}/b.mp4: 2 of 3 frames\n2 alerts" in table.write([])
    assert [(row["frame"], row["time"], row["share"]) for row in rows_of(table)] == [
        ("", "", "0.25"),
        ("1", "0.333333", "0.5"),
        ("2", "0.666667", "0.5"),
        ("3", "1.0", "0.5"),
    ]


def test_a_table_without_rows_is_written(tmp_path):
    table = RowTable(tmp_path, "measure")
    table.add(tmp_path / "a.png", "o", [])
    assert table.write([]).startswith("0 regions")
    assert rows_of(table) == []
    assert RowTable(tmp_path / "none", "alert").write([]).startswith("0 alerts")


def test_tables_of_two_effects_in_one_folder(tmp_path):
    RowTable(tmp_path, "measure").add(tmp_path / "a.png", "m", [])
    alert = RowTable(tmp_path, "alert")
    alert.add(tmp_path / "a\udcff\n.png", "w", WatchedPart(0.5, True))
    assert "a\\udcff\\n.png" in alert.write(["cell"])


def test_a_table_of_another_program_stays(tmp_path):
    RowTable(tmp_path, "alert").add(tmp_path / "a.png", "w", WatchedPart(0.5, True))
    (tmp_path / "measure.csv").write_text("mine")
    with pytest.raises(SegmentError, match=r"measure\.csv exists, and segment\.apply did not write it"):
        RowTable(tmp_path, "measure")


def test_another_process_may_add_rows_at_the_same_time(tmp_path, monkeypatch):
    class SharedFile(type(tmp_path)):
        def open(self, mode):
            file = super().open(mode)
            if mode == "ab":
                with super().open(mode) as other:
                    other.write(b'\n["other.png", 0, "o", [{"share": 1.0, "alert": true}]]')
            return file

    table = RowTable(tmp_path, "alert")
    monkeypatch.setattr(table, "kept", SharedFile(table.kept))
    table.add(tmp_path / "a.png", "o", WatchedPart(0.25, False))
    table.write([])
    assert [(row["image"], row["share"]) for row in rows_of(table)] == [(str(tmp_path / "a.png"), "0.25")]
