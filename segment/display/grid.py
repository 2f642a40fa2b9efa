"""A table for the terminal, Markdown and LaTeX."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.table import Table
from rich.text import Text

from segment.display.escapes import escape_markdown, escape_tex
from segment.files import printable


@dataclass
class Grid:
    """Cells of text below headings. Text is aligned to the left, numbers are aligned to the right.

    Attributes:
        title: text above the table; may be empty.
        headings: one for each column.
        rows: the cells of each row.
        text: headings of the columns with text besides the first one; the others have numbers.
        strong: cells (row, column) in bold type.
        rules: indices of rows with a line above them.

    Example:
        >>> grid = Grid("nets", ["net", "mIoU"], [["FCN-8s", "62.7"]])
        >>> markdown(grid).splitlines()[-2:]
        ['| --- | ---: |', '| FCN-8s | 62.7 |']
    """

    title: str
    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)
    text: Collection[str] = ()
    strong: set[tuple[int, int]] = field(default_factory=set)
    rules: set[int] = field(default_factory=set)

    def is_text(self, column: int) -> bool:
        """Return whether a column has text and not numbers."""
        return column == 0 or self.headings[column] in self.text


def screen_table(grid: Grid, fold: bool = False) -> Table:
    """Return a grid as a table for the terminal.

    Args:
        fold: whether long cells are wrapped; otherwise each row is one line.
    """
    table = Table(title=_plain(grid.title) if grid.title else None, title_justify="left")
    for column, heading in enumerate(grid.headings):
        justify: Literal["left", "right"] = "left" if grid.is_text(column) else "right"
        overflow: Literal["fold", "ellipsis"] = "fold" if fold else "ellipsis"
        table.add_column(_plain(heading), justify=justify, no_wrap=not fold, overflow=overflow)
    for i, row in enumerate(grid.rows):
        cells = [_plain(cell, "bold" if (i, j) in grid.strong else "") for j, cell in enumerate(row)]
        table.add_row(*cells, end_section=i + 1 in grid.rules)
    return table


def _plain(text: str, style: str = "") -> Text:
    """Return text without markup: a name may hold ``[red]``, ``:cat:`` and escape sequences of the terminal."""
    return Text(printable(text), style)


def markdown(grid: Grid) -> str:
    """Return a grid as a Markdown table below its title."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = ["---" if grid.is_text(column) else "---:" for column in range(len(grid.headings))]
    rows = [
        [f"**{cell}**" if (i, j) in grid.strong else cell for j, cell in enumerate(map(escape_markdown, row))]
        for i, row in enumerate(grid.rows)
    ]
    headings = [*map(escape_markdown, grid.headings)]
    return "\n".join([f"**{escape_markdown(grid.title)}**", "", line(headings), line(rule), *map(line, rows)]) + "\n"


def latex(grid: Grid) -> str:
    r"""Return a grid as a ``tabular`` for ``\usepackage{booktabs}``."""
    alignment = "".join("l" if grid.is_text(column) else "r" for column in range(len(grid.headings)))
    lines = [f"% {printable(grid.title)}", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [" & ".join(map(escape_tex, grid.headings)) + r" \\", r"\midrule"]
    for i, row in enumerate(grid.rows):
        if i in grid.rules:
            lines.append(r"\midrule")
        cells = [rf"\textbf{{{c}}}" if (i, j) in grid.strong else c for j, c in enumerate(map(escape_tex, row))]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
