"""Run in each notebook's kernel before its first cell: a command's output has no colours and moving bars.

The site merges the pieces in which output comes line by line, so it has to come in one piece.
"""

import os
import subprocess
import sys

os.environ.pop("FORCE_COLOR", None)  # set by Jupyter
os.environ["COLUMNS"] = "88"


def run(command: str) -> None:
    """Run what follows ``!`` in a cell."""
    line = get_ipython().var_expand(command, depth=1)  # type: ignore[name-defined]  # noqa: F821
    print(subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout, end="")


def bash(_line: str, cell: str) -> None:
    """Run a cell that begins with ``%%bash``."""
    done = subprocess.run(["bash", "-c", cell], capture_output=True, text=True)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    done.check_returncode()


get_ipython().system = run  # type: ignore[name-defined]  # noqa: F821
get_ipython().register_magic_function(bash, "cell")  # type: ignore[name-defined]  # noqa: F821
