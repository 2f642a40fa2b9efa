"""COCO: one JSON file for many images, with polygons and run lengths; pycocotools draws the polygons."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segment.data.annotations.objects import (
    MAX_AREA,
    AnnotatedObject,
    Annotation,
    PackedMask,
    Region,
    clip,
)
from segment.data.annotations.sources import (
    ImageFolder,
    flag,
    load_json,
    read_label,
    read_points,
    read_size,
    split_name,
    typed,
)
from segment.data.pairs import Finding, Remark
from segment.errors import SegmentError

KEYPOINTS = "keypoints"
"""Kind of the remark on a file with keypoints, whose outlines COCO's file of all objects has, too."""


def is_coco(content: Any) -> bool:
    return isinstance(content, dict) and "images" in content


def read_coco(path: Path, folder: ImageFolder) -> Iterator[Annotation | Finding]:
    """Yield the annotation of each image of a file, or the finding that it is broken or its image is missing.

    Large objects come before small ones, so that small ones are drawn over them. Where all objects are crowds, none is
    taken for one: datumaro marks every mask so. A remark says it. A file without outlines, such as captions, is a
    remark alone.

    Raises:
        SegmentError: nothing of the file can be read.
    """
    content = typed(load_json(path), dict, str(path))
    tables: list[list[Mapping[str, Any]]] = []
    for key in ("images", "categories", "annotations"):
        entries = typed(content.get(key, []), list, f"{path}: {key}")
        tables.append([one for one in entries if isinstance(one, dict)])
        if lost := len(entries) - len(tables[-1]):
            yield Finding("annotation", f"{path}: {lost} of {len(entries)} {key} are no objects in braces")
    images, categories, items = tables
    if "annotations" not in content or (content["annotations"] and not any(item.get("segmentation") for item in items)):
        yield Remark("no outline", f"{path} is left out: none of its {len(items)} annotations has an outline")
        return
    if any("keypoints" in item for item in items):
        yield Remark(KEYPOINTS, f"{path} has keypoints: it is read for images that no other file outlines")
    names = _category_names(categories, path)
    if crowds := sum(flag(item, "iscrowd") for item in items):
        yield Remark("crowd", f"{path}: {_crowd_note(crowds, len(items))}")
    if crowds == len(items):
        items = [{**item, "iscrowd": 0} for item in items]
    by_image: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        by_image[_key(item.get("image_id"))].append(item)
    split = split_name(path)
    counts = Counter(_key(image.get("id")) for image in images)
    for image in images:
        try:
            key = _key(image.get("id"))
            own = by_image.pop(key, [])
            if counts[key] > 1:
                raise SegmentError(
                    f"{path}: {image.get('file_name')!r:.200} has the id {key:.40}, as another image has"
                )
            yield _annotation(image, own, names, path, folder, split)
        except SegmentError as error:
            yield Finding("annotation", str(error))
    if lost := sum(map(len, by_image.values())):
        yield Finding("annotation", f"{path} has {lost} annotations of images that it does not list")


def _category_names(categories: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Any]:
    """Return the name of each category by its id, as it is written.

    Raises:
        SegmentError: an id has two names.
    """
    names: dict[str, Any] = {}
    for one in categories:
        key, name = _key(one.get("id")), one.get("name")
        if names.setdefault(key, name) != name:
            raise SegmentError(f"{path}: the categories {names[key]!r:.40} and {name!r:.40} have one id, {key:.40}")
    return names


def _crowd_note(crowds: int, count: int) -> str:
    if crowds == count:
        return "iscrowd is 1 for all objects, as datumaro writes masks, so none is taken for a crowd"
    return f"{crowds} of {count} objects are crowds (iscrowd is 1) and void; datumaro marks all masks so"


def _key(identity: Any) -> str:
    """Return an id for comparison: some tools write 7 in one place and "7" in another."""
    return str(identity)


def _annotation(
    image: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    names: Mapping[str, Any],
    path: Path,
    folder: ImageFolder,
    split: str | None,
) -> Annotation:
    name = typed(image.get("file_name"), str, f"{path}: a file_name")
    place = f"{path}: {name}"
    size = read_size(image.get("height"), image.get("width"), place)
    file = folder.find(name, path)
    empty = Annotation(folder.id(file), file, path, (), size, split, draw_by_coco)
    if any(isinstance(item.get("segmentation"), dict) for item in items):
        size = empty.drawn_size()  # run lengths of another size may stand for gigabytes
    objects = [_object(item, names, size, place) for item in items]
    objects.sort(key=AnnotatedObject.area, reverse=True)
    return replace(empty, objects=objects)


def _object(item: Mapping[str, Any], names: Mapping[str, Any], size: tuple[int, int] | None, place: str):
    key = _key(item.get("category_id"))
    if key not in names:
        raise SegmentError(f"{place}: category_id {item.get('category_id')!r:.40} is in no category")
    label = read_label(names[key], f"{place}: a category's name")
    flags = frozenset(
        ({"crowd"} if flag(item, "iscrowd") else set())
        | {name for name in ("difficult", "occluded") if flag(item.get("attributes"), name)}
    )
    outline = item.get("segmentation")
    if isinstance(outline, dict):
        return AnnotatedObject(label, mask=PackedMask.pack(_run_length(outline, size, place)), flags=flags)
    parts = typed([] if outline is None else outline, list, f"{place}: a segmentation")
    if parts and not isinstance(parts[0], list):  # some tools write one polygon without a list around it
        parts = [parts]
    polygons = [read_points(part, f"{place}: segmentation of {label}") for part in parts]
    return AnnotatedObject(label, tuple(polygons), flags=flags)


def _run_length(code: Mapping[str, Any], size: tuple[int, int] | None, place: str) -> np.ndarray:
    """Return the mask bool (H,W) of runs in columns, the first one of zeros.

    Raises:
        SegmentError: the size is not the image's, or the runs do not add up to it.
    """
    own = typed(code.get("size"), list, f"{place}: size of an RLE")
    if len(own) != 2 or (size is not None and tuple(own) != size) or read_size(own[0], own[1], place) is None:
        raise SegmentError(f"{place}: an RLE has the size {own!r:.60}; expected that of its image")
    counts = code.get("counts")
    try:
        runs = np.array(decode_counts(counts) if isinstance(counts, str) else counts, dtype=np.int64)
        fits = runs.ndim == 1 and (runs >= 0).all() and (runs <= MAX_AREA).all() and runs.sum() == own[0] * own[1]
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        raise SegmentError(f"{place}: the runs of an RLE do not add up to {own[1]}x{own[0]} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(own[1], own[0]).T


def decode_counts(text: str) -> list[int]:
    """Return the runs of a compressed RLE (``rleFrString`` in COCO's maskApi.c).

    A run is written in groups of 5 bits, lowest first, one for each character from "0" on. Bit 5 says that a group
    follows. From the fourth run on, the difference from the run before last is written.

    Raises:
        ValueError: a character is none of these, or the last run is cut off.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode("ascii"):
        if not 48 <= code < 112 or shift > 60:
            raise ValueError
        bits = code - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError
    return runs


def draw_by_coco(item: AnnotatedObject, height: int, width: int) -> Region:
    """Return an object's pixels in a frame as pycocotools draws them.

    Raises:
        SegmentError: pycocotools is missing.
    """
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise SegmentError("COCO's polygons need pycocotools: pip install 'segment-lightning[coco]'") from None
    polygons = [clip(points, height, width) for points in item.outlines if len(points) >= 3]
    codes = coco.frPyObjects([points.ravel().tolist() for points in polygons], height, width)
    return Region(coco.decode(coco.merge(codes)).astype(bool))
