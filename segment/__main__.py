"""List the commands: ``python -m segment``."""

import ast
from pathlib import Path


def list_commands() -> None:
    """Print each command with the first line of its module."""
    print(f"The commands of segment; each takes --help, such as {'python -m segment.train --help'}\n")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title, colon, example = documentation.partition("\n")[0].partition(": ``")
        if colon and path.stem != "__main__":
            print(f"  {path.stem:<11} {title}\n              {example.partition('``')[0]}")


if __name__ == "__main__":
    list_commands()
