"""List the commands: ``python -m segment``."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from segment.cli.entry_point import exit_cleanly
from segment.cli.help import describe_command
from segment.cli.overrides import HELP
from segment.files import printable


def list_commands(arguments: Sequence[str] = ()) -> None:
    """Print each command with the first line of its module.

    Args:
        arguments: of the command line; there should be none.
    """
    if given := [one for one in arguments if one not in HELP]:
        sys.exit(
            f"error: segment takes no {printable(given[0])!r}: python -m segment.COMMAND runs a command, such as train"
        )
    print(f"The commands of segment; each takes --help, such as {'python -m segment.train --help'}\n")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        title, example = describe_command(path)
        if example and path.stem != "__main__":
            print(f"  {path.stem:<11} {title}\n              {example}")


if __name__ == "__main__":
    exit_cleanly(functools.partial(list_commands, sys.argv[1:]))
