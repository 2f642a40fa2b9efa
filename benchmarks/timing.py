"""How all benchmarks measure: sides take turns in one run, the first turn warms up, figures are medians.

A machine's speed drifts more than two sides differ; so each turn is compared with its neighbour in time, and a
ratio is the median over turns. Results are printed and kept as JSON, with the machine and the versions.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from segment.data.datamodule import cores
from segment.errors import SegmentError
from segment.models.costs.measured import processor_name

FOLDER = Path("runs/bench")
"""Where the JSON files go."""

Seconds = dict[str, list[float]]


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The script's docstring as it is, and the defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser for the script that runs."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name.removesuffix(".__main__") if spec else "benchmarks"
    return argparse.ArgumentParser(f"python -m {name}", description=doc, formatter_class=Help)


def run(main: Callable[[], None]) -> None:
    """Run a script; what is wrong with its data, weights or child processes is one line."""
    try:
        main()
    except SegmentError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode().strip()
        sys.exit(f"{said}\nerror: this ended with exit code {error.returncode}: {' '.join(error.cmd)}".lstrip())


def take_turns(sides: Mapping[str, Callable[[], Any]], runs: int) -> Seconds:
    """Seconds of each side, a value a run; a side that returns a float has measured itself."""
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
    """How many times as long as ``to`` a side takes: below 1 it is faster."""
    return statistics.median(a / b for a, b in zip(seconds[side], seconds[to], strict=True))


def versions(*packages: str) -> dict[str, str]:
    """The versions of what is installed of the packages."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def keep(name: str, rows: list[dict[str, Any]], *packages: str) -> None:
    """Write the rows of a benchmark's table as ``runs/bench/NAME.json``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    about = {
        "options": sys.argv[1:],
        "machine": f"{processor_name()}, {cores()} cores",
        "versions": {"python": platform.python_version(), **versions("torch", *packages)},
        "date": time.strftime("%Y-%m-%d"),
    }
    (FOLDER / f"{name}.json").write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
