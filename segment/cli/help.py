"""``--help``: a command's groups, and its keys with the comments that stand beside them in the YAML files."""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from segment.cli.config import YAML_ERRORS, compose, default_options, flatten, group_options, search_path
from segment.cli.value_types import as_typed

HIDDEN = ("_partial_", "_convert_")
"""Hydra's own keys, which nobody needs to change."""
TARGET = "class or function that gets the keys beside it"
INDENT = " " * 36
"""Space before the comments."""
WIDTH = 120


def print_help(command: str, arguments: Sequence[str]) -> None:
    """Print the help of a command, with the values and options that the arguments choose."""
    config = compose(arguments, command)
    chosen = dict(config.hydra.runtime.choices)
    title, example = describe_command(Path(__file__).parents[1] / f"{command}.py")
    groups = default_options(command)
    groups |= {key: option for key, option in chosen.items() if not re.search("@|^hydra/", key)}
    comments = key_comments(search_path(arguments), command, groups | chosen)
    print(f"{title}\n\npython -m segment.{command} [KEY=VALUE ...]{' [GROUP=OPTION ...]' * bool(groups)}")
    print(f"such as {example}")
    if groups:
        print("\nGroups and their options (GROUP=OPTION); --help GROUP=OPTION shows the keys of that option")
    for name, option in groups.items():
        print(_line(name, f"{comments.get(name.replace('/', '.'), '')} [now {as_typed(option)}]"))
        options = ", ".join(group_options(name, arguments))
        print(textwrap.fill(options, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT))
    print("\nKeys and their values (KEY=VALUE)")
    for key, value in flatten(OmegaConf.to_container(config)):
        if not key.startswith("hydra.") and not key.endswith(HIDDEN):
            print(_line(f"{key}={as_typed(value)}", TARGET if key.endswith("_target_") else nearest(key, comments)))
    print("\n--cfg job prints the composed configuration, --config-dir DIR adds your own YAML.")
    print("--hydra-help shows Hydra's own options, python -m segment lists all commands.")


def describe_command(path: Path) -> tuple[str, str]:
    """Return the title and the example in the first line of a command's module; empty if it has no example."""
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    title, _, example = first.partition(": ``")
    return title, example.partition("``")[0]


def nearest(key: str, comments: Mapping[str, str]) -> str:
    """Return the comment of a key, or of the innermost table around it that has one."""
    while key and key not in comments:
        key = key.rpartition(".")[0]
    return comments.get(key, "")


def _line(setting: str, comment: str) -> str:
    start = f"  {setting}  ".ljust(len(INDENT))
    first = start if len(start) == len(INDENT) else f"{start.rstrip()}\n{INDENT}"
    return first + f"\n{INDENT}".join(textwrap.wrap(comment, WIDTH - len(INDENT))) if comment else start.rstrip()


def key_comments(folders: Sequence[str], command: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the comment beside each dotted key; that of the chosen option counts more than those of other options."""
    found: dict[str, str] = {}
    for folder in folders:
        found = dict(file_comments(Path(folder, f"{command}.yaml"))) | found
    chosen, others = list[tuple[str, Path]](), list[tuple[str, Path]]()
    for name, option in options.items():
        group, _, package = name.partition("@")
        prefix = package or group.replace("/", ".")
        places = [Path(folder, group) for folder in folders]
        chosen += [(prefix, path) for path in _lineage(places, option)]
        others += [(prefix, path) for place in places for path in sorted(place.glob("*.yaml"))]
    for prefix, path in chosen:
        found = {f"{prefix}.{key}": comment for key, comment in file_comments(path)} | found
    for prefix, path in chosen:
        if not path.is_relative_to(folders[0]):  # the user's own, whose keys other options do not explain
            found = {f"{prefix}.{key}": "" for key, _ in flatten(yaml.safe_load(path.read_text("utf-8")))} | found
    for prefix, path in [one for one in others if one not in chosen]:
        with suppress(OSError, *YAML_ERRORS):  # Hydra has read only the chosen ones
            found = {f"{prefix}.{key}": comment for key, comment in file_comments(path)} | found
    return found


def _lineage(places: Sequence[Path], option: Any) -> list[Path]:
    """Return the file of an option and those that it extends, each before the ones that it extends."""
    path = next((path for place in places if (path := place / f"{option}.yaml").is_file()), None)
    content = (yaml.safe_load(path.read_text(encoding="utf-8")) if path else None) or {}
    parents = [item for item in content.get("defaults", ()) if isinstance(item, str) and item != "_self_"]
    return [path, *(one for parent in parents for one in _lineage(places, parent))] if path and content else []


def file_comments(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a YAML file, and the groups of its defaults, with the comments beside them."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    root = yaml.compose(text, yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        yield from _node_comments(root, text.splitlines(), "")


def _node_comments(node: yaml.MappingNode, lines: Sequence[str], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        end = value.end_mark if value.start_mark.line == key.start_mark.line else key.end_mark
        match = re.search(r"\s#\s*(.*)", lines[end.line][end.column :])
        if match:
            yield f"{prefix}{key.value}", match[1]
        if key.value == "defaults" and not prefix:
            for item in value.value:
                yield from _node_comments(item, lines, "") if isinstance(item, yaml.MappingNode) else ()
        elif isinstance(value, yaml.MappingNode):
            yield from _node_comments(value, lines, f"{prefix}{key.value}.")
