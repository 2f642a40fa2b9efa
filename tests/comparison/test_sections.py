"""A section for each data set: means, spreads, intervals, differences and published scores."""

import json
from itertools import combinations

import numpy as np
import pytest

from segment.comparison.find import find_runs
from segment.comparison.sections import build_sections, published_scores
from segment.comparison.tables import section_grids, section_records
from segment.evaluation.intervals import mean_iou
from segment.records.folder import RunFolder
from segment.records.per_image import ImageCounts, read_image_counts, write_image_counts
from tests.comparison.conftest import NAMES, change_metrics, random_pixels, write_run

SKIPS = "model.decoder.skip_strides"


def sections_of(*folders, paper: bool = False):
    return build_sections(find_runs(folders)[0], paper)


def test_rows_have_mean_and_spread_over_seeds(strides):
    [section] = sections_of(strides)
    grid, _ = section_grids(section)
    assert grid.headings[:4] == ["net", "seeds", "mean IoU", "95 %"]
    for row, cells, folders in zip(section_records(section), grid.rows, (("0", "1"), ("2", "3")), strict=True):
        values = [json.loads((strides / name / "metrics.json").read_text())["mIoU"] for name in folders]
        assert row["mIoU"] == pytest.approx(np.mean(values))
        assert row["mIoU_deviation"] == pytest.approx(np.std(values, ddof=1))
        assert row["seeds"] == 2
        assert row["frequency_weighted_IoU"] is None
        assert row["mIoU_low"] < row["mIoU"] < row["mIoU_high"]
        assert cells[1:3] == ["2", f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"]
    assert grid.strong == {(1, 2)}


def test_the_user_s_own_metrics_have_columns_which_are_no_shares(tmp_path):
    own = [{"kappa": -0.25, "leaf/1": 0.5}, {"kappa": 1234.5, "leaf/1": None}, {"a\x1b": 3}]
    for i, further in enumerate(own):
        write_run(
            tmp_path / f"{i}", {"seed": i, "optimizer.lr": i // 2}, random_pixels(9, 0.5), further_metrics=further
        )
    [section] = sections_of(tmp_path)
    grid = section_grids(section)[0]
    columns = {heading: [row[index] for row in grid.rows] for index, heading in enumerate(grid.headings)}
    two, one = (columns["seeds"].index(seeds) for seeds in ("2", "1"))
    assert (columns["val/kappa"][two], columns["val/kappa"][one]) == ("617.1", "-")
    assert (columns["val/a\x1b"][two], columns["val/a\x1b"][one]) == ("-", "3")
    assert "val/leaf/1" not in columns  # dictionaries of many values are in the file alone
    record = section_records(section)[two]
    assert record["val/kappa"] == pytest.approx(617.125)
    assert record["val/kappa_deviation"] == pytest.approx(np.std([-0.25, 1234.5], ddof=1))
    assert (record["val/leaf/1"], record["val/leaf/1_deviation"]) == (0.5, None)


def test_differences_are_named_by_both_groups(strides):
    [section] = sections_of(strides)
    [(name, interval)] = section.differences
    assert name == "FCN-8s minus FCN-32s"
    assert 0 < interval.low < interval.value < interval.high
    _, grid = section_grids(section)
    assert grid.rows == [
        [name, f"{100 * interval.value:+.1f}", f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]", "40"]
    ]


def test_few_groups_are_compared_pair_by_pair_and_many_with_the_best(tmp_path):
    for i in range(5):
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, random_pixels(40, 0.5 + i / 10))
    names = [f"fcn8s, lr={i}" for i in (4, 3, 2, 1, 0)]
    [section] = sections_of(tmp_path)
    assert [name for name, _ in section.differences] == [f"fcn8s, lr=4 minus {other}" for other in names[1:]]
    [section] = sections_of(*(tmp_path / f"{i}" for i in range(1, 5)))
    assert [name for name, _ in section.differences] == [f"{a} minus {b}" for a, b in combinations(names[:-1], 2)]


def test_a_run_without_counts_leaves_its_group_without_interval(strides):
    (strides / "1" / "per_image.npz").unlink()
    [section] = sections_of(strides)
    assert section.groups[0].interval is None
    assert section.groups[1].interval is not None
    assert "no intervals, since a run has no per_image.npz: FCN-32s" in section.notes
    assert section.differences == []
    assert section_grids(section)[0].rows[0][3] == "-"


def test_runs_that_share_no_image_are_not_compared(tmp_path):
    write_run(tmp_path / "0", {}, random_pixels(40, 0.5))
    write_run(tmp_path / "1", {"optimizer.lr": 1}, random_pixels(40, 0.9)[::-1])
    [section] = sections_of(tmp_path)
    assert section.differences == []
    assert any(
        note.endswith("not compared, fewer than two images with equal truth in common") for note in section.notes
    )


def write_groups(folder, number: int) -> None:
    """Divide the images of a run into groups."""
    counts = read_image_counts(RunFolder(folder).per_image)
    groups = np.array([str(i % number) for i in range(len(counts.ids))])
    write_image_counts(counts._replace(groups=groups), RunFolder(folder).per_image)


def test_a_single_group_of_images_gives_no_interval_and_the_reason(tmp_path):
    for i in range(2):
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, random_pixels(40, 0.5 + i / 10))
    write_groups(tmp_path / "0", 1)
    [section] = sections_of(tmp_path)
    reason = "no interval: it needs two groups with a counted pixel, got 1"
    assert section.groups[0].interval is None
    assert section.differences == []
    assert {f"fcn8s, lr=0: {reason}", f"fcn8s, lr=1 minus fcn8s, lr=0: not compared, {reason}"} <= {*section.notes}


def test_the_rows_of_intervals_over_groups_are_named(tmp_path):
    for i in range(2):
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, random_pixels(40, 0.5 + i / 10))
    write_groups(tmp_path / "0", 20)
    [section] = sections_of(tmp_path)
    starts = ["fcn8s, lr=0: 95 %: the interval is over the choice of 40 images in 20 groups", "fcn8s, lr=1: 95 %: "]
    assert all(any(note.startswith(start) for note in section.notes) for start in starts)


def test_the_heading_says_that_its_protocol_is_that_of_the_nets(tmp_path):
    write_run(tmp_path / "net", {}, random_pixels(40, 0.5))
    write_run(tmp_path / "files", {}, random_pixels(40, 0.6), predictions="/masks", protocol="masks from files")
    [section] = sections_of(tmp_path)
    assert section.heading == "voc, val split, 40 images, nets: single scale, whole images, precision 32-true"
    [section] = sections_of(tmp_path / "net")
    assert section.heading == "voc, val split, 40 images, single scale, whole images, precision 32-true"


def test_a_difference_that_is_a_point_is_noted(tmp_path):
    for i in range(2):
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, random_pixels(40, 0.5))
    [section] = sections_of(tmp_path)
    [(name, interval)] = section.differences
    assert interval[:3] == (0, 0, 0)
    assert f"{name}: the interval is a point: leaving out any of the images gives the same value" in section.notes


def test_an_interval_over_fewer_images_than_the_scores_is_noted(tmp_path):
    for i in range(2):
        pixels = random_pixels(40, 0.5, i)
        pixels[0, 1, 0] += i  # a mask was corrected
        write_run(tmp_path / f"{i}", {"seed": i}, pixels)
    [section] = sections_of(tmp_path)
    note = "fcn8s: the interval is over the 39 of 40 images that have labels and that all runs share"
    assert note in section.notes


def test_a_run_alone_has_the_name_of_its_net(strides):
    [section] = sections_of(strides / "0")
    [grid] = section_grids(section)
    assert grid.rows[0][0] == "FCN-32s"
    assert not grid.strong


def test_data_sets_are_apart_each_with_its_published_scores(strides, tmp_path):
    write_run(tmp_path / "other", {}, random_pixels(40, 0.7), data="camvid")
    write_run(tmp_path / "own", {}, random_pixels(40, 0.7), data="mine")
    voc, camvid, own = sections_of(strides, tmp_path / "other", tmp_path / "own", paper=True)
    assert (
        section_grids(voc)[0].title
        == "voc, val split, 40 images, single scale, whole images, precision 32-true, per cent"
    )
    assert ("FCN-16s", "62.4") in {(score["net"], score["mIoU"]) for score in voc.elsewhere}
    assert {score["measured on"] for score in camvid.elsewhere} >= {"CamVid test"}
    in_shares = {row["row"]: row["mIoU"] for row in section_records(camvid)}
    assert (in_shares["SegNet"], in_shares["U-Net"]) == (0.464, "0.487 to 0.498")
    assert own.elsewhere == own.published == voc.published == camvid.published == []
    assert "--paper: no published scores are known for mine" in own.notes


def test_published_scores_on_the_same_images_stand_below_a_rule(strides, tmp_path):
    for folder in strides.iterdir():
        change_metrics(folder, split="seg11valid", images=736)
    [section] = sections_of(strides, paper=True)
    grid, _, others = section_grids(section)
    assert grid.rules == {2}
    assert dict(zip(grid.headings, grid.rows[3], strict=True)) == {
        "net": "FCN-32s",
        "seeds": "-",
        "mean IoU": "59.4",
        "95 %": "-",
        "pixel acc.": "89.1",
        "mean acc.": "73.3",
        "f.w. IoU": "81.4",
        "measured on": "VOC2011 seg11valid",
        "source": "Long et al., CVPR 2015, table 2",
    }
    assert {row[grid.headings.index("measured on")] for row in grid.rows[2:]} == {"VOC2011 seg11valid"}
    assert "VOC2011 seg11valid" not in {row[others.headings.index("measured on")] for row in others.rows}
    records = {(row["row"], row.get("measured on")): row for row in section_records(section)}
    assert records["FCN-8s", "VOC2011 seg11valid"]["mIoU"] == 0.627
    assert records["SDS", "VOC2012 test"]["mIoU"] == 0.516


def test_published_scores_on_other_images_have_a_table_that_says_how_they_differ(strides):
    [section] = sections_of(strides, paper=True)
    grid, _, others = section_grids(section)
    assert len(grid.rows) == 2
    assert others.title == "published on other images than voc, val split: not comparable with these runs, per cent"
    found = {tuple(row[others.headings.index(key)] for key in ("measured on", "differs in")) for row in others.rows}
    assert found == {
        ("VOC2011 seg11valid", "split seg11valid, not val"),
        ("VOC2011 test", "split test, not val"),
        ("VOC2012 test", "split test, not val"),
        ("VOC2012 val, trained on VOC+SBD", "1449 images, not 40"),
        ("COCO val2017, VOC labels", "data set"),
    }


def test_drawn_shapes_have_the_lectures_table_apart_from_them(tmp_path):
    write_run(tmp_path / "drawn", {SKIPS: [16, 8]}, random_pixels(40, 0.7), data="shapes")
    [section] = sections_of(tmp_path, paper=True)
    grid, voc = section_grids(section)
    assert len(grid.rows) == 1
    assert voc.title == "published on VOC: not comparable with these runs, per cent"
    keys = ("net", "mean IoU", "measured on", "time of an image")
    assert [tuple(row[voc.headings.index(key)] for key in keys) for row in voc.rows] == [
        ("R-CNN", "47.9", "VOC2011 test", "-"),
        ("SDS", "52.6", "VOC2011 test", "about 50 s"),
        ("FCN-8s", "62.7", "VOC2011 test", "about 175 ms"),
        ("SDS", "51.6", "VOC2012 test", "about 50 s"),
        ("FCN-8s", "62.2", "VOC2012 test", "about 175 ms"),
    ]
    assert [row["data set"] for row in section_records(section)] == ["shapes, val split", *["voc"] * 5]


@pytest.mark.parametrize(("scores", "strong"), [((0.5004, 0.5001, 0.4), {0, 1}), ((0.5, 0.502, 0.4), {1})])
def test_all_runs_that_tie_are_the_best(tmp_path, scores, strong):
    for i, score in enumerate(scores):
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, mIoU=score)
    [grid] = section_grids(sections_of(tmp_path)[0])
    assert {row for row, _ in grid.strong} == strong
    for i in range(3):
        change_metrics(tmp_path / f"{i}", mIoU=None)
    assert not section_grids(sections_of(tmp_path)[0])[0].strong


def test_nets_trained_with_sbd_stand_beside_those_of_voc(strides):
    """Their validation images are the same, and so are the published scores."""
    for name in "01":
        change_metrics(strides / name, data="voc_sbd")
    [section] = sections_of(strides, paper=True)
    assert (section.data, len(section.groups), len(section.differences)) == ("voc", 2, 1)
    assert section.elsewhere


def test_each_split_has_a_section(strides):
    for name in "13":
        change_metrics(strides / name, split="test", images=9)
    titles = [section_grids(section)[0].title for section in sections_of(strides)]
    assert [title.partition(", single")[0] for title in titles] == [
        "voc, val split, 40 images",
        "voc, test split, 9 images",
    ]


def test_every_published_score_has_its_source():
    for data in ("voc", "ade20k", "camvid"):
        assert all(score["source"] and score["measured on"] and score["mIoU"] for score in published_scores(data))


def test_data_sets_of_one_name_with_other_classes_are_apart(strides, tmp_path):
    write_run(tmp_path / "other", {}, mIoU=0.3, per_class_IoU={"sky": 0.2, "tree": 0.4})
    titles = [section.title for section in sections_of(strides, tmp_path / "other")]
    assert titles == ["voc (3 classes: background, cat, dog), val split", "voc (2 classes: sky, tree), val split"]


@pytest.mark.parametrize("value", [None, 0.0])
def test_a_score_that_is_undefined_or_zero(tmp_path, value):
    write_run(tmp_path / "0", {}, mIoU=value)
    [section] = sections_of(tmp_path)
    assert section_grids(section)[0].rows[0][2] == ("-" if value is None else "0.0")


def test_rare_classes_are_noted_once_for_all_rows_that_have_as_many(tmp_path):
    for i in range(2):
        pixels = random_pixels(9, 0.5 + i / 5)
        pixels[2:, :, 2] = 0
        write_run(tmp_path / f"{i}", {"optimizer.lr": i}, pixels)
    [section] = sections_of(tmp_path)
    note = "1 class occurs in fewer than five of the images, in truth or prediction, which may make the interval"
    assert f"fcn8s, lr=0; fcn8s, lr=1: {note} too short" in section.notes
    assert sum("the interval is over the choice of 9 images" in note for note in section.notes) == 1
    assert not any(note.startswith("±") for note in section.notes)


def write_folds(root, seed: int = 0, folds=(0, 1, 2), skill: float = 0.7, **facts) -> None:
    """Write the runs of a cross-validation: fold k has the images k, k + 3, k + 6, ..."""
    pixels = random_pixels(40, skill, seed)
    ids = np.array([f"{i:03d}" for i in range(40)])
    for fold in folds:
        own = slice(fold, None, 3)
        of_folds = {"number": 3, "fold": fold, "of": "3 folds of train", "images": 40, "files": "ab"}
        config = {"seed": seed, "data.folds": 3, "data.fold": fold, "optimizer.lr": skill}
        name = f"{skill}_{seed}_{fold}"
        write_run(root / name, config, pixels[own], folds=of_folds, images=len(ids[own]), files=f"{fold}", **facts)
        write_image_counts(ImageCounts(ids[own], pixels[own], NAMES), root / name / "per_image.npz")


def test_folds_are_one_row_with_their_mean_and_the_pooled_pixels(tmp_path):
    for seed in (0, 1):
        write_folds(tmp_path, seed)
    write_folds(tmp_path, skill=0.9)
    write_run(tmp_path / "other", {}, random_pixels(40, 0.8))
    divided, whole = sections_of(tmp_path)
    assert (divided.heading.split(", ")[1:3], whole.split) == (["3 folds of train", "40 images"], "val")
    assert [len(group.runs) for group in divided.groups] == [6, 3]
    grid = section_grids(divided)[0]
    assert grid.headings[:6] == ["net", "settings", "folds", "seeds", "mean IoU", "pooled"]
    row, better = section_records(divided)
    scores = [run.metrics["mIoU"] for run in divided.groups[0].runs]
    pooled = [float(mean_iou(random_pixels(40, 0.7, seed).sum(0))) for seed in (0, 1)]
    assert (row["folds"], row["seeds"]) == (3, 2)
    assert row["mIoU"] == pytest.approx(np.mean(scores))
    assert row["mIoU_pooled"] == pytest.approx(np.mean(pooled))
    assert row["mIoU_low"] < row["mIoU_pooled"] < row["mIoU_high"] < better["mIoU_pooled"]
    assert divided.differences[0][1].images == 40
    assert "±: standard deviation over seeds and folds" in divided.notes
    assert not [note for note in divided.notes if "lack the folds" in note]


def test_missing_folds_are_named_and_copies_are_left_out(tmp_path):
    write_folds(tmp_path, folds=(0, 2))
    write_folds(tmp_path / "again", folds=(2,), precision="32-true")
    change_metrics(tmp_path / "again" / "0.7_0_2", pixel_accuracy=0.4)
    [section] = sections_of(tmp_path)
    assert [len(group.runs) for group in section.groups] == [2]
    assert any(note.endswith("lack the folds 1") for note in section.notes)
    assert any("another run has the same settings, seed and fold" in note for note in section.notes)


def test_nets_of_folds_on_a_common_split_are_averaged(tmp_path):
    """Each of them predicts all images of a test split, so that their pixels are not of different images."""
    for fold in range(3):
        write_run(
            tmp_path / f"{fold}", {"data.folds": 3, "data.fold": fold}, random_pixels(40, 0.7, fold), split="test"
        )
    [section] = sections_of(tmp_path)
    [row] = section_records(section)
    assert (row["folds"], row["mIoU_pooled"], section.split) == (3, None, "test")
    assert row["mIoU_low"] < row["mIoU"] < row["mIoU_high"]
