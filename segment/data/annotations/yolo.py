"""YOLO: a text file for each image, with a class and an outline in units of the image's size in each line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from segment.data.annotations.objects import MAX_SIDE, AnnotatedObject, Annotation
from segment.data.annotations.sources import ImageFolder, read_label, read_text, typed
from segment.errors import SegmentError
from segment.files import first_names

MAX_YAML, MAX_BRACKETS = 10**5, 100
"""Characters and brackets of a data.yaml; it has some hundreds and a few."""


def label_files(folder: ImageFolder) -> list[Path]:
    """Return the text files in a folder ``labels``, or beside their images."""
    stems, depth = {path.with_suffix("") for path in folder.images}, len(folder.root.parts)
    return [
        path for path in folder.with_suffix(".txt") if "labels" in path.parts[depth:] or path.with_suffix("") in stems
    ]


def read_names(folder: ImageFolder) -> dict[int, str]:
    """Return the names of the classes by number, from data.yaml or a similar file, classes.txt or obj.names."""
    for path in (path for suffix in (".yaml", ".yml") for path in folder.with_suffix(suffix)):
        if folder.contains(path) and (names := _yaml_names(path)):
            return names
    for path in folder.files:
        if path.name in {"classes.txt", "obj.names"} and folder.contains(path):
            return _by_number(enumerate(read_text(path).splitlines()))
    return {}


def _by_number(names: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    """Return the names by number, without those that are empty."""
    return {int(n): name.strip() for n, name in names if isinstance(name, str) and name.strip() not in {"", "~"}}


def _yaml_names(path: Path) -> dict[int, str]:
    """Return the names of a data.yaml by number; an empty table if it has none."""
    text = read_text(path)
    try:
        if len(text) > MAX_YAML or text.count("[") + text.count("{") > MAX_BRACKETS:
            raise ValueError("it is too long, or nested too deep")
        content = yaml.load(text, yaml.BaseLoader)  # no merging, which could take gigabytes
        names = content.get("names") if isinstance(content, dict) else None
        return _by_number(names.items() if isinstance(names, dict) else enumerate(typed(names or [], list, "names")))
    except (SegmentError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise SegmentError(f"cannot read {path}: {str(error).splitlines()[0][:200]}") from None


def read_yolo(path: Path, folder: ImageFolder, names: Mapping[int, str]) -> Annotation:
    """Read a text file; lines ``CLASS X1 Y1 X2 Y2 ...`` become objects, of which small ones are drawn over large ones.

    Raises:
        SegmentError: it is broken, or its image is missing.
    """
    parts = path.parent.relative_to(folder.root).parts
    beside = folder.root.joinpath(*("images" if part == "labels" else part for part in parts))
    image = folder.find(path.stem, path, beside)
    own = path.with_suffix("").relative_to(folder.root).parts
    empty = Annotation("/".join(part for part in own if part != "labels"), image, path, ())
    height, width = empty.drawn_size()
    lines = read_text(path).splitlines()
    objects = [_object(line.split(), names, (width, height), str(path)) for line in lines if line.strip()]
    objects.sort(key=AnnotatedObject.area, reverse=True)
    return replace(empty, objects=objects)


def _object(words: Sequence[str], names: Mapping[int, str], size: tuple[int, int], path: str) -> AnnotatedObject:
    try:
        number, values = int(words[0]), np.array(words[1:], np.float64)
        if not np.isfinite(values).all() or len(values) % 2 or number < 0:
            raise ValueError
    except ValueError:
        raise SegmentError(
            f"{path}: expected CLASS X1 Y1 X2 Y2 ... in each line, got {' '.join(words)!r:.60}"
        ) from None
    if len(values) == 4:
        raise SegmentError(f"{path}: a line has a box and no outline, {' '.join(words)!r:.60}: it is for detection")
    if names and number not in names:
        raise SegmentError(f"{path}: class {number} has no name; named are {first_names([*map(str, names)], 5)}")
    label = read_label(names[number], f"{path}: the name of class {number}") if names else f"class {number}"
    return AnnotatedObject(label, (np.clip(values, -MAX_SIDE, MAX_SIDE).reshape(-1, 2) * size,))
