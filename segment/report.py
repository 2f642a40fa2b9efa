"""Compare runs in one table: ``python -m segment.report DIR... --output FOLDER``."""

import argparse
import csv
import io
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement

from segment.cli.entry_point import exit_cleanly
from segment.cli.overrides import override_key, typed_list
from segment.comparison.find import find_runs, run_folders
from segment.comparison.sections import Section, build_sections
from segment.comparison.tables import section_grids, section_records
from segment.display.escapes import escape_markdown
from segment.display.grid import latex, markdown, screen_table
from segment.errors import SegmentError
from segment.files import printable, whole_file
from segment.records.trust import read_trust

DESCRIPTION = """\
Compare the runs in and below the folders, each split of a data set in a table of its own. Runs that differ alone in
their seed, or in the fold of a cross-validation, are one row: mean and spread of the scores, intervals over the choice
of images, and the costs of the net by the protocol of its evaluation, on this machine. Runs that failed or have not
finished are listed below. The exit code is 1 only if no run has metrics. trust=[PACKAGE]
lets nets and data of that package be built, for costs and pictures."""

WATCH_SECONDS = 5
"""Seconds between two looks at the folders."""


def report(arguments: argparse.Namespace) -> None:
    """Find runs, compare them, print the result and write it into the output folder.

    Raises:
        SegmentError: no run has metrics, or the output folder cannot be made.
    """
    console = Console(soft_wrap=True, highlight=False)
    output = arguments.output
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SegmentError(f"--output {output}: expected a folder ({error.strerror})") from None
    runs, problems, notes = find_runs(arguments.folders)
    below = notes + (["without metrics:", *(f"  {problem}" for problem in problems)] if problems else [])
    sections = build_sections(runs, arguments.paper)
    if sections and (arguments.cost is not False or (output and arguments.images)):
        from segment.comparison.nets import add_costs_and_pictures  # torch takes seconds

        with console.status("measuring the nets"):
            size = None if arguments.cost is False else arguments.size
            limit = {"max_nets": float("inf")} if arguments.cost else {}
            add_costs_and_pictures(sections, size, output, arguments.images, arguments.trust, **limit)
    print_sections(sections, console)
    for line in below:
        print(printable(line))
    if not sections:
        where = ", ".join(map(str, arguments.folders))
        raise SegmentError(f"no run with metrics below {where}: expected folders with the metrics.json of a run")
    if output is not None:
        write_report(sections, below, output)
        print(f"written to {printable(str(output))}")


def watch(arguments: argparse.Namespace) -> None:
    """Make the report again each time that a run has begun or ended; Ctrl-C ends it."""
    arguments.cost, arguments.images, known = False, 0, None
    while True:
        found = [
            (folder.path, *(path.stat().st_mtime_ns for path in (folder.metrics, folder.job_status) if path.is_file()))
            for folder in run_folders(arguments.folders)
        ]
        if found != known:
            known = found
            Console().clear()  # nothing, unless it is a terminal
            try:
                report(arguments)
            except SegmentError as error:  # no run has ended yet
                print(printable(str(error)))
            sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print tables and notes in full width: the terminal then wraps long lines, while rich would cut cells."""
    wide = console.options.update(max_width=1000)
    for section in sections:
        for table in map(screen_table, section_grids(section)):
            console.width = max(console.width, Measurement.get(console, wide, table).maximum)
            console.print(table)
        for note in section.notes:
            print(printable(note))


def write_report(sections: Sequence[Section], below: Sequence[str], folder: Path) -> None:
    """Write report.md, report.tex and report.csv, each in one step."""
    rows = [row for section in sections for row in section_records(section)]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    pages, sources = [], []
    for section in sections:
        pages += [*map(markdown, section_grids(section)), *(f"- {escape_markdown(note)}" for note in section.notes), ""]
        sources += [*map(latex, section_grids(section)), *(f"% {printable(note)}" for note in section.notes), ""]
    pages += [f"- {escape_markdown(line.strip())}" for line in below]
    for name, text in (("md", "\n".join(pages)), ("tex", "\n".join(sources)), ("csv", table.getvalue())):
        with whole_file(folder / f"report.{name}", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text.rstrip("\n") + "\n")


def image_size(text: str) -> tuple[int, int]:
    """Return height and width from text such as ``512x1024``."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(map(int, match.groups())) < 32:
        raise argparse.ArgumentTypeError(f"{text}: expected HEIGHTxWIDTH, each from 32, such as 512x512")
    return int(match[1]), int(match[2])


def number_from(low: int) -> Callable[[str], int]:
    """Return a function that reads a whole number of at least ``low``, for argparse."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number from {low}")
        return int(text)

    return number


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m segment.report", description=DESCRIPTION)
    add = parser.add_argument
    add("folders", metavar="DIR", nargs="+", type=Path, help="run, sweep, or folder with runs at any depth")
    add("--output", metavar="FOLDER", type=Path, help="write report.md, .csv, .tex, cost.png, .pdf and pictures.png")
    add("--paper", action="store_true", help="add published scores, each with its split and source")
    add(
        "--cost",
        action=argparse.BooleanOptionalAction,
        help="measure time and memory of all nets, or of none; by default of up to 50 different ones",
    )
    add("--watch", action="store_true", help="print the table again when runs have ended, without costs, until Ctrl-C")
    add(
        "--size",
        metavar="HEIGHTxWIDTH",
        type=image_size,
        default=(512, 512),
        help="size of the image that costs are measured on (512x512)",
    )
    add(
        "--images",
        metavar="N",
        type=number_from(0),
        default=4,
        help="number of images in pictures.png, spread over the split (4)",
    )
    given = sys.argv[1:] if command_line is None else command_line
    try:
        arguments = parser.parse_args([one for one in given if override_key(one) != "trust"])
        arguments.trust = read_trust(typed_list("trust", given))
        (watch if arguments.watch else report)(arguments)
    except SegmentError as error:
        sys.exit(f"error: {printable(str(error))}")


if __name__ == "__main__":
    exit_cleanly(main)
