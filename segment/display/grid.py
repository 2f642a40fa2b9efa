"""A table on screen, in Markdown and in LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table


@dataclass
class Grid:
    """Cells of text under headings.

    ``words`` is the number of columns, from the left, that hold words; the others hold figures, but for a last one
    called "source". ``strong`` are cells (row, column) that stand out, ``rules`` rows that a line is drawn above.
    """

    title: str
    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)
    words: int = 1
    strong: set[tuple[int, int]] = field(default_factory=set)
    rules: set[int] = field(default_factory=set)

    def is_text(self, column: int) -> bool:
        return column < self.words or self.headings[column] in {"source", "measured on"}


def on_screen(grid: Grid) -> Table:
    table = Table(title=escape(grid.title), title_justify="left")
    for column, heading in enumerate(grid.headings):
        table.add_column(heading, justify="left" if grid.is_text(column) else "right", no_wrap=True)
    for i, row in enumerate(grid.rows):
        cells = [f"[bold]{escape(cell)}" if (i, j) in grid.strong else escape(cell) for j, cell in enumerate(row)]
        table.add_row(*cells, end_section=i + 1 in grid.rules)
    return table


def markdown(grid: Grid) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    rule = ["---" if grid.is_text(column) else "---:" for column in range(len(grid.headings))]
    rows = [
        [f"**{cell}**" if (i, j) in grid.strong else cell for j, cell in enumerate(row)]
        for i, row in enumerate(grid.rows)
    ]
    return "\n".join([f"**{grid.title}**", "", line(grid.headings), line(rule), *map(line, rows)]) + "\n"


def latex(grid: Grid) -> str:
    r"""A ``tabular`` with the rules of booktabs; wants ``\usepackage{booktabs}``."""
    alignment = "".join("l" if grid.is_text(column) else "r" for column in range(len(grid.headings)))
    lines = [f"% {grid.title}", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [" & ".join(map(tex, grid.headings)) + r" \\", r"\midrule"]
    for i, row in enumerate(grid.rows):
        if i in grid.rules:
            lines.append(r"\midrule")
        cells = [rf"\textbf{{{tex(cell)}}}" if (i, j) in grid.strong else tex(cell) for j, cell in enumerate(row)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_"},
}  # fmt: skip


def tex(text: str) -> str:
    """Text as LaTeX wants it. A bracket in front would be the row break's or a macro's argument."""
    escaped = "".join(TEX.get(character, character) for character in text)
    return f"{{{escaped}}}" if escaped.startswith("[") else escaped
