"""YAML that may be a stranger's: what would take its parser too much time or memory is found before it is read."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

MAX_RECORD = 100_000
"""Bytes of the YAML files that Hydra writes into a run folder; they have some thousands."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Loader of plain data; libyaml's is ten times as fast, where PyYAML has it."""
DEEP = r"(?:[\[{][^\[\]{}]*){20}|(?:[-?:]\s+){20}"
"""Pattern of YAML that is nested deeply; Hydra writes a line for each value."""


def load_untrusted_yaml(path: Path) -> Any:
    """Load untrusted YAML; None if it cannot be read, is nested deeply or has an alias.

    An alias can stand for gigabytes, and the time of the parser grows with the square of the depth.
    """
    try:
        if not _is_small_file(path):
            return None
        text = path.read_text(encoding="utf-8")
        if re.search(DEEP, text) or any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, LOADER)):
            return None
        content = yaml.load(text, LOADER)
        repr(content)  # fails for numbers of thousands of digits
    except Exception:  # an untrusted file may raise anything
        return None
    return content


def is_bounded_yaml(path: Path) -> bool:
    """Return whether a YAML file is small and holds few values, where each alias counts as all that it stands for."""
    if not _is_small_file(path) or re.search(DEEP.encode(), text := path.read_bytes()):
        return False
    sizes: dict[str | None, int] = {}
    counts, anchors = [0], [None]
    with suppress(yaml.YAMLError):  # Hydra will say that it cannot read the file
        for event in yaml.parse(text, LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                counts.append(1)
                anchors.append(event.anchor)
            elif isinstance(event, yaml.ScalarEvent):
                sizes[event.anchor] = 1
                counts[-1] += 1
            elif isinstance(event, yaml.AliasEvent):
                counts[-1] += sizes.get(event.anchor, MAX_RECORD)  # one that is not known yet runs in a circle
            elif isinstance(event, yaml.CollectionEndEvent):
                size = sizes[anchors.pop()] = counts.pop()
                counts[-1] += size
    return counts[0] < MAX_RECORD


def _is_small_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_RECORD
