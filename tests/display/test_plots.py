"""Plots show the numbers that they are given, and nothing lies outside of the picture."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb

from segment.display.plots import (
    CostPoint,
    class_shares,
    confusion_matrix,
    reliability_diagram,
    score_against_cost,
    training_curves,
)
from segment.display.style import LINE_COLOURS


def test_training_curves_have_the_rows_that_were_logged():
    rows = [{"step": "0", "train/loss": "2.0", "val/mIoU": ""}, {"step": "9", "train/loss": "", "val/mIoU": "0.5"}]
    left, right = training_curves(rows).axes
    assert left.lines[0].get_xydata().tolist() == [[0, 2]]
    assert right.lines[0].get_xydata().tolist() == [[9, 0.5]]
    assert training_curves([{"step": "0"}]).axes  # a run without validation


def test_confusion_matrix_in_shares_of_the_true_class():
    axis = confusion_matrix(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]]), ["a", "b", "c"]).axes[0]
    shares = axis.images[0].get_array().filled(np.nan)
    assert shares[0].tolist() == [0.75, 0.25, 0]
    assert np.isnan(shares[1]).all()
    assert {text.get_position(): text.get_text() for text in axis.texts} == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c"]


def test_confusion_matrix_of_many_classes_has_no_numbers():
    assert not confusion_matrix(np.eye(150, dtype=int), [f"{i}" for i in range(150)]).axes[0].texts


def test_reliability_diagram():
    empty = {"pixels": 0, "confidence": None, "accuracy": None}
    upper, lower = reliability_diagram([empty, {"pixels": 4, "confidence": 0.7, "accuracy": 0.5}]).axes
    assert [bar.get_height() for bar in upper.patches] == [0, 0.5]
    assert [bar.get_height() for bar in lower.patches] == [0, 1]
    assert upper.lines[0].get_xydata().tolist() == [[0.7, 0.5]]
    assert reliability_diagram([empty] * 15).axes


def test_class_shares_have_a_bar_for_each_split_and_class():
    figure = class_shares({"train": [0.5, 0.5, 0.0], "val": [1e-5, 0.9, 0.1]}, ["a", "b", "void"])
    [axis] = figure.axes
    assert [bar.get_width() for bar in axis.patches] == [0.5, 0.5, 0.0, 1e-5, 0.9, 0.1]
    assert axis.get_xlim()[0] < 1e-5  # the rarest class has a bar, too
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "val"]


def test_the_cost_plot_names_twenty_nets_in_its_legend():
    rng = np.random.default_rng(0)
    label = "resnet50, optimizer.lr=0.001, decoder.skip_strides=[16,8], "
    points = [CostPoint(f"model{i}, " + label * (1 + i % 3), *rng.uniform([20, 40], [200, 60])) for i in range(20)]
    figure = score_against_cost(points, "forward pass, ms", "mean IoU, per cent")
    FigureCanvasAgg(figure).draw()
    legend = figure.legends[0]
    best_first = sorted(points, key=lambda point: -point.score)
    assert [text.get_text().split(",")[0] for text in legend.get_texts()] == [p.label.split(",")[0] for p in best_first]
    marks = [container.lines[0] for container in figure.axes[0].containers]
    assert len({(mark.get_color(), mark.get_marker()) for mark in marks}) == 20
    box, picture = legend.get_window_extent(), figure.bbox
    assert picture.x0 <= box.x0 < box.x1 <= picture.x1
    assert picture.y0 <= box.y0 < box.y1 < figure.axes[0].get_window_extent().y0


def test_the_cost_axis_begins_at_zero_unless_costs_differ_much():
    def axis_of(*costs: float):
        points = [CostPoint(f"{cost}", cost, 50) for cost in costs]
        return score_against_cost(points, "ms", "mIoU").axes[0]

    assert axis_of(10, 11).get_xlim()[0] == 0
    assert axis_of(10, 100).get_xscale() == "log"


def test_the_cost_plot_has_bars_for_intervals():
    figure = score_against_cost([CostPoint("a", 10, 50, (45, 60)), CostPoint("b", 11, 40)], "ms", "mIoU", "voc, $val$")
    with_interval, without = figure.axes[0].containers
    [bar] = with_interval.lines[2]
    assert bar.get_segments()[0].tolist() == [[10, 45], [10, 60]]
    assert not without.lines[2]
    assert figure.axes[0].get_title() == r"voc, \$val\$"


EVIL = ["$\\x$", "a$b", "c\n\x1b[31m"]


def test_names_in_plots_are_no_formulas():
    points = [CostPoint(name, 1, 1) for name in EVIL]
    shares = class_shares({"train": [0.1, 0.2, 0.7]}, EVIL)
    for figure in (confusion_matrix(np.eye(3, dtype=int), EVIL), shares, score_against_cost(points, "a", "b")):
        FigureCanvasAgg(figure).draw()
    assert [label.get_text() for label in shares.axes[0].get_yticklabels()] == [r"\$\x\$", r"a\$b", r"c\n\x1b[31m"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_plots_are_legible_on_light_and_dark(style):
    with matplotlib.style.context(style):
        figures = [
            training_curves([{"step": "0", "train/loss": "2.0"}]),
            confusion_matrix(np.eye(3, dtype=int), ["a", "b", "c"]),
            class_shares({"train": [0.1, 0.9]}, ["a", "b"]),
            score_against_cost([CostPoint("a", 1, 1)], "ms", "mIoU"),
        ]
    for figure in figures:
        FigureCanvasAgg(figure).draw()  # outside of the context, as when a figure is saved later
        paper = sum(to_rgb(figure.get_facecolor()))
        assert paper == (3 if style == "default" else 0)
        assert all(
            abs(sum(to_rgb(label.get_color())) - paper) > 1 for axis in figure.axes for label in axis.get_xticklabels()
        )


def test_all_plots_have_the_colours_of_the_style():
    [axis] = class_shares({"train": [0.1, 0.9]}, ["a", "b"]).axes
    assert to_hex(axis.patches[0].get_facecolor()) == LINE_COLOURS[0]
    assert to_hex(training_curves([]).axes[0].lines[0].get_color()) == LINE_COLOURS[0]
