"""One table for the terminal, Markdown and LaTeX."""

import io

import pytest
from rich.console import Console

from segment.display.grid import Grid, latex, markdown, screen_table


@pytest.fixture
def grid():
    """Two text columns with a number between them, a bold cell and a rule above the second row."""
    rows = [["a_b", "[16,8]", "60.1", "here"], ["c|d", "-", "7.0", "[bold]there"]]
    return Grid("50 % & more", ["net", "skips", "mIoU", "source"], rows, ["skips", "source"], {(0, 2)}, {1})


def printed(table, width: int = 100) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue().splitlines()


def test_terminal(grid):
    lines = printed(screen_table(grid))
    assert lines[0].rstrip() == "50 % & more"
    assert [cell.strip() for cell in lines[2].split("┃")[1:-1]] == grid.headings
    assert "│ a_b │ [16,8] │ 60.1 │ here        │" in lines
    assert "│ c|d │ -      │  7.0 │ [bold]there │" in lines  # text is no markup
    assert lines[lines.index("│ a_b │ [16,8] │ 60.1 │ here        │") + 1].startswith("├")


def test_long_cells_on_the_terminal():
    grid = Grid("", ["error"], [["long " * 30]])
    assert printed(screen_table(grid, fold=True), 40)[3:-1][-1].count("long") > 0
    assert "…" in "".join(printed(screen_table(grid), 40))


def test_markdown(grid):
    assert markdown(grid).splitlines() == [
        "**50 % &amp; more**",
        "",
        "| net | skips | mIoU | source |",
        "| --- | --- | ---: | --- |",
        "| a_b | [16,8] | **60.1** | here |",
        r"| c\|d | - | 7.0 | [bold]there |",
    ]


def test_latex(grid):
    lines = latex(grid).splitlines()
    assert lines[:3] == ["% 50 % & more", r"\begin{tabular}{llrl}", r"\toprule"]
    assert lines[3:9] == [
        r"net & skips & mIoU & source \\",
        r"\midrule",
        r"a\_b & {[16,8]} & \textbf{60.1} & here \\",
        r"\midrule",
        r"c\textbar{}d & - & 7.0 & {[bold]there} \\",
        r"\bottomrule",
    ]


EVIL = "\x1b[31m[red]:cat:\n|$x$\\<script>"


def test_names_are_text_and_nothing_else():
    """No escape sequence, markup, line end, cell, formula, macro or tag comes out of a name."""
    grid = Grid(EVIL, [EVIL, "b"], [[EVIL, EVIL]], strong={(0, 1)})
    shown = r"\x1b[31m[red]:cat:\n|$x$\<script>"
    assert "".join(printed(screen_table(grid))).count(shown) == 4
    assert all(line.count(" | ") == 1 for line in markdown(grid).splitlines()[2:])
    assert "<script>" not in markdown(grid)
    assert r"\|\$x\$\\&lt;script&gt;" in markdown(grid)
    lines = latex(grid).splitlines()
    assert len(lines) == 8
    assert lines[0] == f"% {shown}"
    assert r"\textbar{}\$x\$\textbackslash{}\textless{}script\textgreater{}" in lines[5]
