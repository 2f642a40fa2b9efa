"""segment.check prints and writes its report, and ends with an error if there is a problem."""

import json
import runpy
import sys
from collections import Counter

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from segment.check import SHOWN, finding_lines, mask_rows, shares_grid, sizes_grid
from segment.data import FolderDataModule
from segment.data.doctor import DataReport, SplitTotals
from segment.data.pairs import Finding
from segment.display.pictures import overlay


@pytest.mark.slow
def test_clean_and_faulty_data(folder_root, main, capsys):
    words = ("data=folder", f"data.root={folder_root}", "data.classes=[a,b,c]", f"hydra.run.dir={folder_root}/report")
    main("check", *words)
    assert "problems: none" in capsys.readouterr().out
    assert (folder_root / "report" / "check.png").stat().st_size > 5000
    assert (folder_root / "report" / "check_masks.png").stat().st_size > 5000
    (folder_root / "val/masks/1.png").unlink()
    image = folder_root / "train/images/2.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    with pytest.raises(SystemExit, match=r"^error: found 2 problems that would spoil a training"):
        main("check", *words)
    content = json.loads((folder_root / "report" / "check.json").read_text())
    assert [p["kind"] for p in content["problems"]] == ["unreadable image", "missing mask"]
    assert content["splits"]["train"]["pixels"]["a"] == 600


@pytest.mark.parametrize("name", ["check.json", "check.png", "check_masks.png"])
def test_a_file_of_the_user_s_stays(main, tmp_path, name):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / name).write_text("the user's")
    with pytest.raises(SystemExit, match=f"{name} exists, and no run of this package wrote it"):
        main("check", "data.train_size=1", "data.val_size=1", f"hydra.run.dir={tmp_path}/report")
    assert (tmp_path / "report" / name).read_text() == "the user's"


@pytest.mark.parametrize("mistake", ["data.root=nowhere", "data.classes=[a]"])
def test_a_check_that_reads_nothing_leaves_no_folder(tmp_path, monkeypatch, mistake):
    monkeypatch.setattr(sys, "argv", ["check", "data=folder", "data.root=.", "data.classes=[a,b]", mistake])
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit, match=r"error: (no data set at data.root=nowhere|data.classes names 1 classes)"):
        runpy.run_module("segment.check", run_name="__main__")
    assert [*tmp_path.iterdir()] == []


def test_masks_are_shown_over_their_images_and_what_cannot_be_read_is_left_out(folder_root):
    data = FolderDataModule(str(folder_root), ["a", "b", "c"])
    rows = mask_rows(data, ["train", "val", "nowhere"])
    assert len(rows) == 2 + 2
    dataset = data.dataset("train")
    for row, index in zip(rows, (0, len(dataset) - 1), strict=False):
        image, mask = dataset[index]["image"].permute(1, 2, 0).numpy(), dataset[index]["mask"].numpy()
        for one, other in zip(row, (image, mask, overlay(image, mask, data.classes)), strict=True):
            np.testing.assert_array_equal(one, other)
    dataset.samples[0].image.write_bytes(b"broken")
    assert len(mask_rows(data, ["train"])) < len(dataset)


def test_the_table_of_sizes_has_the_most_common_ones():
    sizes = Counter({(500, 375): 9, (375, 500): 4, (500, 333): 3, (1, 1): 2, (2, 2): 1})
    grid = sizes_grid(DataReport({"train": SplitTotals(20, 19, sizes), "val": SplitTotals(1, 0)}))
    assert grid.rows == [
        ["train", "20", "19", "500x375 (9), 375x500 (4), 500x333 (3) and 2 others"],
        ["val", "1", "0", ""],
    ]


def test_the_table_of_shares_has_void_below_a_line():
    grid = shares_grid({"train": [0.75, 0.0, 0.25], "val": [1.0, 0.0, 0.0]}, ["cat", "dog", "void"])
    assert grid.headings == ["class", "train", "val"]
    assert grid.rows == [["cat", "75.00", "100.00"], ["dog", "-", "-"], ["void", "25.00", "-"]]
    assert grid.rules == {2}


def test_findings_are_listed_by_kind_and_cut_short():
    findings = [Finding("leakage", f"{i}") for i in range(SHOWN + 2)] + [Finding("mask size", "x")]
    lines = finding_lines("problems", findings)
    assert lines[0] == f"problems: {SHOWN + 3}"
    assert lines[1:] == [*(f"  leakage: {i}" for i in range(SHOWN)), "  leakage: and 2 more", "  mask size: x"]
    assert finding_lines("notes", []) == ["notes: none"]


def test_names_of_files_are_escaped_and_rows_of_tables_are_not():
    """A file's name may hold the codes by which a terminal changes colours, moves the cursor or sets its title."""
    (_, line) = finding_lines("problems", [Finding("unknown values", "\x1b]0;me\x07\n.png:\n  7: NAME")])
    assert line == "  unknown values: \\x1b]0;me\\x07\\n.png:\n  7: NAME"
