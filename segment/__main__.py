"""List the commands: ``python -m segment``."""

from pathlib import Path

from segment.cli.help import describe_command


def list_commands() -> None:
    """Print each command with the first line of its module."""
    print(f"The commands of segment; each takes --help, such as {'python -m segment.train --help'}\n")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        title, example = describe_command(path)
        if example and path.stem != "__main__":
            print(f"  {path.stem:<11} {title}\n              {example}")


if __name__ == "__main__":
    list_commands()
