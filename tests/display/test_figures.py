"""Figures: their panels, legends and files."""

import numpy as np
import pytest
from PIL import Image

from segment.data.classes import BACKGROUND, IGNORE, Classes
from segment.display.figures import example_figure, save_figure, side_by_side
from segment.display.pictures import overlay

CLASSES = Classes((BACKGROUND, "cat"), ((0, 0, 0), (200, 100, 0)))
MASK = np.array([[0, 1], [1, IGNORE]])


def test_classes_whose_colours_look_alike_differ_in_pictures():
    classes = Classes(("wall", "road"), ((120, 120, 120), (121, 121, 121)))
    truth = np.array([[0, 1]])
    [[wall, road]] = (
        side_by_side([(np.zeros((1, 2, 3), np.uint8), truth)], ["image", "truth"], classes)
        .axes[1]
        .images[0]
        .get_array()
    )
    assert np.abs(wall.astype(int) - road).max() > 50
    assert np.abs(np.diff(overlay(np.zeros((1, 2, 3), np.uint8), truth, classes).astype(int), axis=1)).max() > 25


def legend_of(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_example_figure_has_a_legend_of_the_classes_that_occur():
    figure = example_figure(np.zeros((2, 2, 3), np.uint8), MASK, np.ones((2, 2), int), CLASSES, "a title")
    assert [axis.get_title() for axis in figure.axes] == ["image", "truth", "prediction"]
    assert legend_of(figure) == [BACKGROUND, "cat", "void"]
    assert figure.get_suptitle() == "a title"
    assert figure.axes[1].images[0].get_array()[0, 1].tolist() == [200, 100, 0]


def test_names_in_pictures_are_no_formulas(tmp_path):
    classes = Classes((BACKGROUND, "$\\x$"), CLASSES.palette)
    save_figure(
        example_figure(np.zeros((2, 2, 3), np.uint8), MASK, MASK, classes, "$\\frac$.jpg, a title"), tmp_path / "a.png"
    )
    row = (np.zeros((2, 2, 3), np.uint8), MASK)
    save_figure(side_by_side([row], ["image", "$\\net$"], classes), tmp_path / "b.png")


@pytest.mark.parametrize("shape", [(20, 30), (90, 30)])
def test_panels_are_beside_each_other_in_rows_of_any_shape(shape, tmp_path):
    row = (np.zeros((*shape, 3), np.uint8), np.zeros(shape, int), np.ones(shape, int))
    figure = side_by_side([row, row], ["image", "truth", "a very long name of a net " * 3], CLASSES)
    save_figure(figure, tmp_path / "rows.png")
    assert len(figure.axes) == 6
    assert legend_of(figure) == [BACKGROUND, "cat"]
    assert Image.open(tmp_path / "rows.png").width == 600


def test_a_figure_is_written_in_the_format_of_its_suffix(tmp_path):
    figure = example_figure(np.zeros((2, 2, 3), np.uint8), MASK, MASK, CLASSES)
    save_figure(figure, tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]
