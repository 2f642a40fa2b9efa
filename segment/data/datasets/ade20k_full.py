"""ADE20K's full release (2021_17_01): 3,688 names of objects, their parts and attributes."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from segment.data.annotations.labels import class_entries
from segment.data.annotations.objects import AnnotatedObject, draw_by_pil
from segment.data.annotations.sources import flag, load_json, read_points, typed
from segment.data.classes import BACKGROUND, IGNORE, Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.datasets.ade20k import STUFF_NAMES, SUBFOLDERS
from segment.data.headers import ImageHeader
from segment.data.labels import VOID, Labels, index_labels
from segment.data.pairs import Finding, Sample
from segment.errors import SegmentError

RELEASE = "ADE20K_2021_17_01"
"""Name of the release's folder and archive."""
DEEPEST = 4
"""Largest level of parts of parts."""


class FullObject(NamedTuple):
    """An object or part, as the release's JSON describes it.

    Args:
        code: number of its name in the masks.
        names: all names, synonyms included, in lower case.
        attributes: as written, with "occluded" and "crop" where they hold.
        level: 0 for an object, 1 for its part, 2 for the part of a part.
        whole: id of what it is a part of.
        outline: points (n,2).
        mask: path of its own mask.
    """

    code: int
    names: tuple[str, ...]
    attributes: frozenset[str]
    level: int
    whole: int | None
    outline: np.ndarray
    mask: Path


def read_objects(path: Path) -> dict[int, FullObject]:
    """Return the objects and parts of a JSON file by id.

    Raises:
        SegmentError: it is broken.
    """
    content = typed(typed(load_json(path), dict, str(path)).get("annotation"), dict, f"{path}: annotation")
    items = [typed(item, dict, f"{path}: an object") for item in typed(content.get("object"), list, f"{path}: object")]
    return {_whole_number(item.get("id"), path): _read_object(item, path) for item in items}


def _read_object(item: Mapping[str, Any], path: Path) -> FullObject:
    parts = item.get("parts")
    parts = parts if isinstance(parts, dict) else {}
    polygon = typed(item.get("polygon"), dict, f"{path}: a polygon")
    columns = [typed(polygon.get(axis), list, f"{path}: a polygon") for axis in "xy"]
    wholes = _as_list(parts.get("ispartof"))
    attributes = {name for text in _as_list(item.get("attributes")) for name in _names(text)}
    attributes |= {name for name in ("occluded", "crop") if flag(item, name)}
    return FullObject(
        _whole_number(item.get("name_ndx"), path),
        (*_names(item.get("name")), *_names(item.get("raw_name"))),
        frozenset(attributes),
        _whole_number(parts.get("part_level") or 0, path),
        _whole_number(wholes[0], path) if wholes else None,
        read_points([list(pair) for pair in zip(*columns, strict=False)], f"{path}: a polygon"),
        path.with_suffix("") / PurePosixPath(str(item.get("instance_mask") or "none")).name,
    )


def _as_list(value: Any) -> list[Any]:
    """Return a list of what the release writes as a list, as one value, or as nothing."""
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _names(text: Any) -> list[str]:
    return [name.strip().lower() for name in str(text or "").split(",") if name.strip()]


def _whole_number(value: Any, path: Path) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise SegmentError(f"{path}: expected a whole number, got {value!r:.40}") from None


class Selection(NamedTuple):
    """Objects of a class: ``wall``, ``car/wheel`` for parts, ``person:walking`` for objects with an attribute."""

    names: tuple[str, ...]
    attributes: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Return the selection that a text describes.

        Raises:
            SegmentError: a name or an attribute is empty.
        """
        name, colon, attributes = text.lower().partition(":")
        names = tuple(part.strip() for part in name.split("/"))
        found = frozenset(part.strip() for part in attributes.split(":") if colon)
        if not all(names) or not all(found) or len(names) > DEEPEST:
            raise SegmentError(f"data.classes: {text!r} is no NAME, NAME/PART or NAME:ATTRIBUTE")
        return cls(names, found)

    def matches(self, item: FullObject, objects: Mapping[int, FullObject]) -> bool:
        """Return whether an object, and all that it is a part of, have the names, and it has the attributes."""
        if not self.attributes <= item.attributes or item.level != len(self.names) - 1:
            return False
        current: FullObject | None = item
        for name in reversed(self.names):
            if current is None or name not in current.names:
                return False
            current = None if current.whole is None else objects.get(current.whole)
        return True


@dataclass(frozen=True, eq=False)
class FullMask:
    """Mask of a sample that is made of the release's masks, its parts, and its JSON file.

    Args:
        stem: path of the image without suffix.
        selections: with the label of each; the last one that matches counts.
        others: label of all other pixels.
        ignore: attributes whose objects are void.
    """

    stem: Path
    selections: Sequence[tuple[Selection, int]]
    others: int
    ignore: frozenset[str]

    def frame_problem(self, image: ImageHeader) -> Finding | None:
        return None

    def draw(self, image: ImageHeader) -> np.ndarray:
        objects = read_objects(self.stem.with_suffix(".json"))
        labels = {number: self._label(item, objects) for number, item in objects.items()}
        found = np.full(image.size[::-1], self.others, np.uint8)
        for level in range(DEEPEST):
            path = self.stem.with_name(f"{self.stem.name}{f'_parts_{level}' if level else '_seg'}.png")
            if level and not path.is_file():
                break
            here = {number: item for number, item in objects.items() if item.level == level}
            self._draw_level(path, here, labels, found)
        return found

    def _label(self, item: FullObject, objects: Mapping[int, FullObject]) -> int | None:
        if item.attributes & self.ignore:
            return IGNORE
        return next((label for one, label in reversed(self.selections) if one.matches(item, objects)), None)

    def _draw_level(
        self, path: Path, objects: Mapping[int, FullObject], labels: Mapping[int, int | None], found: np.ndarray
    ) -> None:
        """Draw the objects of a level, whose pixels have the name in red and green, and the instance in blue."""
        colours = Labels({(0, 0, 0): 0}).read_values(path)
        if colours.shape != found.shape:
            raise SegmentError(f"{path} and its image differ in size")
        codes, keys = (colours >> 16) // 10 * 256 + (colours >> 8 & 255), colours
        wanted = {item.code for number, item in objects.items() if labels[number] is not None}
        for key in np.unique(keys[np.isin(codes, [*wanted])]):
            pixels = keys == key
            code = int((key >> 16) // 10 * 256 + (key >> 8 & 255))
            among = {number: item for number, item in objects.items() if item.code == code}
            choices = {labels[number] for number in among}
            label = choices.pop() if len(choices) == 1 else labels[_nearest_object(pixels, among)]
            if label is not None:
                found[pixels] = label


def _nearest_object(pixels: np.ndarray, objects: Mapping[int, FullObject]) -> int:
    """Return the id of the object whose own mask, or else whose outline, overlaps most with some pixels (H,W)."""

    def overlap(item: FullObject) -> float:
        own = np.zeros(pixels.shape, bool)
        if os.path.isfile(item.mask):  # Path.is_file fails on names that no file can have
            shown = Labels({0: 0}).read_values(item.mask)
            own = shown == IGNORE if shown.shape == own.shape else own
        elif (shape := AnnotatedObject("", (item.outline,))).is_drawable and not shape.is_empty:
            mask, left, top = draw_by_pil(shape, *pixels.shape)
            own[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        return float((own & pixels).sum() / max(1, (own | pixels).sum()))

    return max(objects, key=lambda number: overlap(objects[number]))


class ADE20KFullDataModule(SegmentationDataModule):
    """``ADE20K_2021_17_01/images/ADE/training|validation/GROUP/SCENE/NAME.jpg`` with masks and a JSON file for each.

    Args:
        root: the folder that holds ``ADE20K_2021_17_01``, or that folder itself.
        classes: ``wall``, ``car/wheel`` (a part) or ``person:walking`` (an attribute, also ``occluded`` and ``crop``),
            or a table from class to such texts. Synonyms count. Of two that match, the last one counts, and parts are
            drawn over their whole.
        others: "void" or "background" for all other pixels.
        ignore: attributes whose objects are void, such as ``[occluded, crop]``.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Raises:
        SegmentError: there are no classes or more than 254, or an argument is out of range.

    Example:
        >>> data = ADE20KFullDataModule("data/ade20k", classes=["wall", "car", "car/wheel"], others="background")
        >>> data.classes.names, sorted(data.classes.stuff)
        (('background', 'wall', 'car', 'car/wheel'), ['wall'])
    """

    name = "ade20k_full"
    layout = f"{RELEASE}/images/ADE/{{training,validation}}/"

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | Mapping[str, Any] | None = None,
        others: str = VOID,
        ignore: Sequence[str] = (),
        **loading: Any,
    ) -> None:
        super().__init__(root, **loading)
        if others not in {VOID, BACKGROUND}:
            raise SegmentError(f"data.others={others}: expected void or background")
        if not classes:
            raise SegmentError("data.classes is missing: give names, such as [wall,car,car/wheel,person:walking]")
        self.table = dict(class_entries(classes))
        names = [BACKGROUND] * (others == BACKGROUND) + [name for name in self.table if name != BACKGROUND]
        if not 1 < len(names) < IGNORE:
            raise SegmentError(f"data.classes names {len(names)} classes; expected 2 to 254")
        bases = {name: Selection.parse(self.table[name][0]).names for name in names if name in self.table}
        stuff = frozenset(name for name, path in bases.items() if path[-1] in STUFF_NAMES and len(path) == 1)
        self.classes = Classes(tuple(names), voc_palette(len(names)), stuff)
        self.others, self.ignore = others, [*ignore]
        self.selections = [(Selection.parse(text), names.index(name)) for name in bases for text in self.table[name]]

    @property
    def labels(self) -> Labels:
        return index_labels(len(self.classes))

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "classes": self.table}

    def samples(self, split: str) -> list[Sample]:
        """Return every image of the split's folder, in the order of their paths."""
        if split not in SUBFOLDERS:
            raise SegmentError(f"ADE20K's full release has the splits train and val, not {split!r}")
        folder = self.folder(RELEASE) / "images" / "ADE" / SUBFOLDERS[split]
        images = sorted(folder.glob("*/*/*.jpg"))
        if not images:
            raise SegmentError(f"no image in {folder}: expected {self.layout}")
        others = IGNORE if self.others == VOID else 0
        return [
            Sample(
                path.stem,
                path,
                path.with_name(f"{path.stem}_seg.png"),
                FullMask(path.with_suffix(""), self.selections, others, frozenset(self.ignore)),
            )
            for path in images
        ]

    def image_stem(self, mask: Path) -> str | None:
        return None

    @cached_property
    def _objects(self) -> list[dict[int, FullObject]]:
        return [*self._read_all()]

    def _read_all(self) -> Iterator[dict[int, FullObject]]:
        for split in SUBFOLDERS:
            try:
                samples = self.samples(split)
            except SegmentError:  # reported as a problem of the split
                continue
            for sample in samples:
                try:
                    yield read_objects(sample.image.with_suffix(".json"))
                except SegmentError:  # reported as a problem of the pair
                    continue

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the numbers of objects by name, of parts by whole and name, and of attributes."""
        names, parts, attributes = Counter[str](), Counter[str](), Counter[str]()
        for objects in self._objects:
            for item in objects.values():
                path = [item]
                while (whole := path[0].whole) is not None and whole in objects and len(path) < DEEPEST:
                    path.insert(0, objects[whole])
                text = "/".join(one.names[0] if one.names else "" for one in path)
                (parts if item.level else names)[text] += 1
                attributes.update(item.attributes)
        return {"name": dict(names), "part": dict(parts), "attribute": dict(attributes)}

    def findings(self) -> tuple[list[Finding], list[Finding]]:
        """Return a note for each class that no object has."""
        notes = []
        for selection, label in self.selections:
            if not any(selection.matches(item, objects) for objects in self._objects for item in objects.values()):
                notes.append(Finding("no object", f"no object is of the class {self.classes.names[label]}"))
        return [], notes
