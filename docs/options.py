"""Sphinx directives that write the reference from ``conf/``, with the comments that ``--help`` shows.

``{command} train`` is a command with its keys, ``{group} data`` all options of a group, and ``{keys} loading default
data`` the keys of a file that the options of ``data`` share.
"""

import contextlib
import inspect
import io
import pydoc
import re
import runpy
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import segment
from segment.cli.config import CONF_DIR, default_options, flatten, group_options
from segment.cli.help import HIDDEN, describe_command, file_comments, key_comments, nearest
from segment.cli.value_types import as_typed

SHARED = {"data": {"loading@data": "default"}, "model": {"net@model": "default", "model/encoder": "vgg16_fc"}}
"""Files whose comments explain the keys of a group's options, too."""
PRESETS = ("experiment", "sweep")
"""Groups whose options set keys of other groups."""


def command_text(command: str) -> Iterator[str]:
    """Yield the Markdown about a command: its purpose, an example, its groups and its own keys."""
    title, example = describe_command(Path(segment.__file__).with_name(f"{command}.py"))
    yield from (f"{title}.", f"```\n{example}\n```")
    if not Path(CONF_DIR, f"{command}.yaml").is_file():
        yield f"```text\n{parser_help(command)}\n```"
        return
    groups = default_options(command)
    comments = key_comments([CONF_DIR], command, {})
    if groups:
        rows = ((group, option, comments.get(group.replace("/", "."), "")) for group, option in groups.items())
        yield table(("group", "default", "meaning"), rows)
    content = read_yaml(Path(CONF_DIR, f"{command}.yaml"))
    yield key_table("", {key: value for key, value in content.items() if key not in {"defaults", "hydra"}}, comments)


def parser_help(command: str) -> str:
    """Return what ``--help`` prints for a command without YAML."""
    output, arguments = io.StringIO(), sys.argv
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        sys.argv = [command, "--help"]
        runpy.run_module(f"segment.{command}", run_name="__main__")
    sys.argv = arguments
    return output.getvalue().strip()


def group_text(group: str) -> Iterator[str]:
    """Yield the Markdown about all options of a group."""
    for option in group_options(group):
        path = Path(CONF_DIR, group, f"{option}.yaml")
        yield f"## `{group}={option}`"
        yield head_comment(path, preset=group in PRESETS)
        yield from file_text(group, option, group.replace("/", ".") * (group not in PRESETS))


def file_text(folder: str, option: str, prefix: str) -> Iterator[str]:
    """Yield the Markdown about the keys that a file sets: the files that it extends, its parts, and its values."""
    content = read_yaml(Path(CONF_DIR, folder, f"{option}.yaml"))
    if folder in PRESETS:
        chosen = default_options("train") | SHARED["data"] | SHARED["model"]
        own = dict(file_comments(Path(CONF_DIR, folder, f"{option}.yaml")))
    else:
        chosen, own = {f"{folder}@{prefix}": option} | SHARED.get(folder, {}), {}
    comments = key_comments([CONF_DIR], "train", chosen) | own
    yield base_text(folder, content.pop("defaults", ()))
    content |= content.pop("hydra", {}).get("sweeper", {}).get("params", {})
    yield from part_texts(content)
    yield key_table(prefix, content, comments)


def base_text(folder: str, defaults: Iterable[Any]) -> str:
    """Return the sentences about a file's ``defaults``: the files that it extends, and the options that it chooses."""
    extended, chosen = [], []
    for entry in defaults:
        if isinstance(entry, str):
            extended += [f"`{folder}={entry}`"] * (entry != "_self_")
            continue
        [(key, option)] = entry.items()
        group = key.removeprefix("override ")
        full = group.lstrip("/") if group.startswith("/") else f"{folder}/{group}"
        chosen += [f"`{full}={as_typed(option)}`"] * (not re.search("@|^hydra", full))
    sentences = [f"Extends {', '.join(extended)}."] * bool(extended) + [f"Sets {', '.join(chosen)}."] * bool(chosen)
    return " ".join(sentences)


def part_texts(content: Any) -> Iterator[str]:
    """Yield the name and the first paragraph of each class or function that a table names."""
    for key, name in flatten(content):
        if not key.endswith("_target_"):
            continue
        where = f"`{key.rpartition('.')[0]}`: " if "." in key else ""
        text = inspect.getdoc(pydoc.locate(name)) if name.startswith("segment.") else None
        paragraph = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", (text or "").partition("\n\n")[0].replace("\n", " "))
        yield f"{where}{{py:obj}}`{name}`. {paragraph}"


def key_table(prefix: str, content: dict[Any, Any], comments: dict[str, str]) -> str:
    """Return the table of the keys of a file; a table with other keys than names is one value."""
    names = {key: value for key, value in content.items() if isinstance(key, str)}
    pairs = ((f"{prefix}.{key}".strip("."), value) for key, value in flatten(names))
    shown = (
        (key, value, nearest(key.replace("/", "."), comments))
        for key, value in pairs
        if key and not key.endswith(("_target_", *HIDDEN))
    )
    return table(("key", "value", "meaning"), shown)


def table(heading: Iterable[str], rows: Iterable[tuple[str, Any, str]]) -> str:
    """Return a Markdown table of keys, values and comments; empty without rows."""
    lines = [f"| `{key}` | {code(as_typed(value))} | {escape(comment)} |" for key, value, comment in rows]
    return "\n".join([f"| {' | '.join(heading)} |", "|---|---|---|", *lines]) if lines else ""


def code(value: str) -> str:
    return f"`{value.replace('|', '&#124;')}`" if value else ""


def escape(text: str) -> str:
    return re.sub(r"([\\|<>*_\[\]{}$])", r"\\\1", text)


def head_comment(path: Path, preset: bool) -> str:
    """Return the comment at the top of a file; that of a preset keeps its lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    text = [line.removeprefix("#").removeprefix(" ") for line in lines[:number] if "@package" not in line]
    return "\n".join(["```text", *text, "```"] if preset else [escape(" ".join(text))])


def read_yaml(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


class Reference(SphinxDirective):
    """Parse the Markdown that a function yields, with its headings."""

    required_arguments = 1
    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # conf/ may have changed since the last build
        texts = WRITERS[self.name](*self.arguments)
        return self.parse_text_to_nodes("\n\n".join(filter(None, texts)), allow_section_headings=True)


WRITERS = {"command": command_text, "group": group_text, "keys": file_text}


def setup(app: Sphinx) -> dict[str, bool]:
    for name in WRITERS:
        app.add_directive(name, Reference)
    return {"parallel_read_safe": True}
