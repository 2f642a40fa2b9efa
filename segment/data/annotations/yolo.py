"""YOLO: a text file for each image, with a class and an outline in units of the image's size in each line."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import yaml

from segment.data.annotations.objects import MAX_SIDE, AnnotatedObject, Annotation
from segment.data.annotations.sources import SPLITS, ImageFolder, read_label, read_text, typed
from segment.data.pairs import Remark
from segment.errors import SegmentError
from segment.files import first_names, printable

MAX_YAML, MAX_BRACKETS = 10**5, 100
"""Characters and brackets of a data.yaml; it has some hundreds and a few."""


def label_files(folder: ImageFolder) -> list[Path]:
    """Return the text files in a folder ``labels``, or beside their images."""
    stems, depth = {path.with_suffix("") for path in folder.images}, len(folder.root.parts)
    return [
        path for path in folder.with_suffix(".txt") if "labels" in path.parts[depth:] or path.with_suffix("") in stems
    ]


def read_names(folder: ImageFolder, file: "DataYAML | None") -> dict[int, str]:
    """Return the names of the classes by number, from data.yaml or a similar file, classes.txt or obj.names."""
    if file:
        return file.names
    for path in folder.files:
        if path.name in {"classes.txt", "obj.names"} and folder.contains(path):
            return _by_number(enumerate(read_text(path).splitlines()))
    return {}


def _by_number(names: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    """Return the names by number, without those that are empty."""
    return {int(n): name.strip() for n, name in names if isinstance(name, str) and name.strip() not in {"", "~"}}


class DataYAML(NamedTuple):
    """A file such as data.yaml: its path, the names of the classes by number, and all its entries."""

    path: Path
    names: dict[int, str]
    entries: dict[str, Any]


def find_data_yaml(folder: ImageFolder) -> DataYAML | None:
    """Return the first YAML file that names classes."""
    paths = (path for suffix in (".yaml", ".yml") for path in folder.with_suffix(suffix) if folder.contains(path))
    return next((found for found in map(_read_yaml, paths) if found.names), None)


def _read_yaml(path: Path) -> DataYAML:
    text = read_text(path)
    try:
        if len(text) > MAX_YAML or text.count("[") + text.count("{") > MAX_BRACKETS:
            raise ValueError("it is too long, or nested too deep")
        content = yaml.load(text, yaml.BaseLoader)  # no merging, which could take gigabytes
        entries = content if isinstance(content, dict) else {}
        names = entries.get("names") or []
        pairs = names.items() if isinstance(names, dict) else enumerate(typed(names, list, "names"))
        return DataYAML(path, _by_number(pairs), entries)
    except (SegmentError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise SegmentError(f"cannot read {path}: {str(error).splitlines()[0][:200]}") from None


def read_splits(folder: ImageFolder, file: DataYAML | None) -> tuple[dict[Path, str], list[Remark]]:
    """Return the split of each image that data.yaml names by its folder or list, and remarks on faulty entries.

    An image of several splits is used for validation or test, not for training.
    """
    splits: dict[Path, str] = {}
    remarks: list[Remark] = []
    if file is None:
        return splits, remarks
    for split in ("val", "test", "train"):
        values = [file.entries[key] for key in SPLITS if SPLITS[key] == split and key in file.entries]
        for entry in (str(one) for value in values for one in (value if isinstance(value, list) else [value]) if one):
            images, lost = _named_images(entry, file, folder)
            shared = sum(splits.setdefault(image, split) != split for image in images)
            problems = [f"{len(lost)} images are not found: {first_names(lost)}"] * bool(lost)
            problems += [f"{shared} images are in another split, too"] * bool(shared)
            problems += [f"no folder or list of images below {folder.root}"] * (not images and not lost)
            place = f"{file.path}: {split}: {printable(entry[:200])}"
            remarks += [Remark("split", f"{place}: {problem}") for problem in problems]
    return splits, remarks


def _named_images(entry: str, file: DataYAML, folder: ImageFolder) -> tuple[list[Path], list[str]]:
    """Return the images of a split's folder or list, and the lines of the list that name none."""
    place = _find_entry(entry, file, folder)
    if place is None or not place.is_file():
        return [image for image in folder.images if place in image.parents], []
    images, lost = [], []
    for line in filter(str.strip, read_text(place).splitlines()):
        try:
            images.append(folder.find(line.strip(), place))
        except SegmentError:
            lost.append(line.strip())
    return images, lost


def _find_entry(entry: str, file: DataYAML, folder: ImageFolder) -> Path | None:
    """Return the folder or list that an entry names, although the data set may have been moved since."""
    lead, own = _parts(str(file.entries.get("path") or "")), _parts(entry)
    is_absolute = entry[:1] == "/" or entry[1:2] == ":"
    starts = range(len(lead) + (len(own) if is_absolute else 1))
    places = [base.joinpath(*[*lead, *own][i:]) for i in starts for base in (file.path.parent, folder.root)]
    return next((place for place in places if os.path.exists(place) and folder.contains(place)), None)


def _parts(path: str) -> list[str]:
    return [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in {"/", ".."}]


def read_yolo(path: Path, folder: ImageFolder, names: Mapping[int, str], splits: Mapping[Path, str]) -> Annotation:
    """Read a text file; lines ``CLASS X1 Y1 X2 Y2 ...`` become objects, of which small ones are drawn over large ones.

    Raises:
        SegmentError: it is broken, or its image is missing.
    """
    parts = path.parent.relative_to(folder.root).parts
    beside = folder.root.joinpath(*("images" if part == "labels" else part for part in parts))
    image = folder.find(path.stem, path, beside)
    own = path.with_suffix("").relative_to(folder.root).parts
    empty = Annotation("/".join(part for part in own if part != "labels"), image, path, (), split=splits.get(image))
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
