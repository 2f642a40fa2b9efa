"""One table out of any set of runs: ``python -m segment.report DIR... --output FOLDER``."""

import argparse
import csv
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement

from segment.comparison.find import find
from segment.comparison.sections import Section, grids, records, sections
from segment.display.grid import latex, markdown, on_screen
from segment.errors import SegmentError
from segment.files import whole_file

DESCRIPTION = """\
Puts the runs below the folders together: one row for runs that differ in their seed alone, with mean and spread of
the figures, intervals from a bootstrap over the images, and what the nets cost on this machine. Runs that failed or
have not finished are listed below the table; the exit code is 1 only if no run has figures."""


def report(arguments: argparse.Namespace) -> None:
    """Find the runs, put them together, show and write what they give.

    Raises:
        SegmentError: no run has figures, or the output folder can't be made.
    """
    console = Console(soft_wrap=True, highlight=False)
    output = arguments.output
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SegmentError(f"--output {output}: expected a folder ({error.strerror})") from None
    runs, problems, notes = find(arguments.folders)
    below = notes + (["without figures:", *(f"  {problem}" for problem in problems)] if problems else [])
    made = sections(runs, arguments.resamples, arguments.paper)
    if made and (arguments.cost or output):
        from segment.comparison.nets import look_at_nets  # torch takes seconds

        for number, section in enumerate(made, start=1):
            ending = f"_{section.data}_{number}" if len(made) > 1 else ""
            with console.status(f"looking at the nets on {section.data}"):
                look_at_nets(section, arguments.size if arguments.cost else None, output, arguments.images, ending)
    wide = console.options.update(max_width=1000)
    for section in made:
        for table in map(on_screen, grids(section)):  # a terminal may be narrow: it breaks lines, rich would cut cells
            console.width = max(console.width, Measurement.get(console, wide, table).maximum)
            console.print(table)
        for note in section.notes:
            console.print(note, markup=False)
    for line in below:
        console.print(line, markup=False)
    if not made:
        where = ", ".join(map(str, arguments.folders))
        raise SegmentError(f"no run with figures below {where}: expected folders with the metrics.json of a run")
    if output is not None:
        write(made, below, output)
        console.print(f"written to {output}", markup=False)


def write(made: Sequence[Section], below: Sequence[str], folder: Path) -> None:
    """report.md, report.tex and report.csv, each in one move."""
    rows = [row for section in made for row in records(section)]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    pages, sources = [], []
    for section in made:
        pages += [*map(markdown, grids(section)), *(f"- {note}" for note in section.notes), ""]
        sources += [*map(latex, grids(section)), *(f"% {note}" for note in section.notes), ""]
    pages += [f"- {line.strip()}" for line in below]
    for name, text in (("md", "\n".join(pages)), ("tex", "\n".join(sources)), ("csv", table.getvalue())):
        with whole_file(folder / f"report.{name}", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n")


def size(text: str) -> tuple[int, int]:
    """``512x1024`` as height and width."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(map(int, match.groups())) < 32:
        raise argparse.ArgumentTypeError(f"{text}: expected HEIGHTxWIDTH, each from 32, such as 512x512")
    return int(match[1]), int(match[2])


def number_from(low: int) -> Callable[[str], int]:
    """The type of an option that is a whole number, ``low`` or more."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text}: expected a number from {low}")
        return int(text)

    return number


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m segment.report", description=DESCRIPTION)
    add = parser.add_argument
    add("folders", metavar="DIR", nargs="+", type=Path, help="a run, a sweep, or a folder of such at any depth")
    add("--output", metavar="FOLDER", type=Path, help="write report.md, .csv, .tex, cost.png, .pdf and pictures.png")
    add("--paper", action="store_true", help="add published figures, each with its split and source")
    add("--no-cost", dest="cost", action="store_false", help="measure neither time nor memory")
    add(
        "--size",
        metavar="HEIGHTxWIDTH",
        type=size,
        default=(512, 512),
        help="of the image that costs are measured on (512x512)",
    )
    add(
        "--images",
        metavar="N",
        type=number_from(0),
        default=4,
        help="images in pictures.png, spread over the split (4)",
    )
    add("--resamples", metavar="N", type=number_from(0), default=2000, help="of the bootstrap; 0: no intervals (2000)")
    try:
        report(parser.parse_args(words))
    except SegmentError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
