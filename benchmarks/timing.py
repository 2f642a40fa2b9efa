"""The method of all benchmarks: sides take turns, the first turn is a warm-up, and results are medians.

The speed of a machine drifts by more than the sides differ. So each run is compared with the other side's run next to
it in time, and a ratio is the median over turns. Results are printed, and written as JSON with machine and versions.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from segment.data.workers import cores
from segment.errors import SegmentError
from segment.models.costs.measured import processor_name

FOLDER = Path("runs/bench")
"""Folder of the JSON files."""

Seconds = dict[str, list[float]]


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show the script's docstring unchanged, and the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for the script that is running."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name.removesuffix(".__main__") if spec else "benchmarks"
    return argparse.ArgumentParser(f"python -m {name}", description=doc, formatter_class=Help)


def run(main: Callable[[], None]) -> None:
    """Run a script and report a mistake in its data, weights or child processes in one line."""
    try:
        main()
    except SegmentError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        output = (error.stderr or b"").decode().strip()
        sys.exit(f"{output}\nerror: exit code {error.returncode} of {' '.join(error.cmd)}".lstrip())


def take_turns(sides: Mapping[str, Callable[[], Any]], runs: int) -> Seconds:
    """Return the seconds of each side, one value per run; a side that measures itself returns its seconds."""
    seconds: Seconds = {name: [] for name in sides}
    for run in range(runs + 1):
        order = list(sides.items())
        for name, side in reversed(order) if run % 2 else order:
            start = time.perf_counter()
            own = side()
            taken = time.perf_counter() - start
            if run:
                seconds[name].append(own if isinstance(own, float) else taken)
    return seconds


def ratio(seconds: Seconds, side: str, to: str) -> float:
    """Return the time of a side relative to that of ``to``, the median over turns; below 1 the side is faster."""
    return statistics.median(a / b for a, b in zip(seconds[side], seconds[to], strict=True))


def versions(*packages: str) -> dict[str, str]:
    """Return the version of each package, or "not installed"."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def keep(name: str, rows: list[dict[str, Any]], *packages: str) -> None:
    """Write the rows of a benchmark's table to ``runs/bench/NAME.json``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    about = {
        "options": sys.argv[1:],
        "machine": f"{processor_name()}, {cores()} cores",
        "versions": {"python": platform.python_version(), **versions("torch", *packages)},
        "date": time.strftime("%Y-%m-%d"),
    }
    (FOLDER / f"{name}.json").write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


def goal_lines(names: Iterable[str]) -> list[str]:
    """Return the lines of a table of the rows that have a goal, with their measured values.

    A goal is the upper bound of a row's "ratio" or "seconds", or the lower bound of its "times" of a peer's speed.

    Args:
        names: the benchmarks; one without a JSON file has no rows.
    """
    lines = [f"{'':62}{'goal':>15} measured"]
    for path in [path for name in names if (path := FOLDER / f"{name}.json").is_file()]:
        for row in json.loads(path.read_text())["rows"]:
            if "goal" in row:
                key = next(key for key in ("ratio", "times", "seconds") if key in row)
                value, goal = row[key], row["goal"]
                kept = value >= goal if key == "times" else value <= goal
                bound = f"{'at least' if key == 'times' else 'at most'} {goal:.2f}"
                what, unit = f"{path.stem}: {row['what']}", " s" * (key == "seconds")
                lines.append(f"{what:62.62}{bound + unit:>15}{value:9.2f}  {'kept' if kept else 'missed'}")
    return lines
