"""Label Studio's JSON export: tasks with polygons, rectangles, ellipses and brush strokes in per cent of the image."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from segment.data.annotations.objects import AnnotatedObject, Annotation, PackedMask
from segment.data.annotations.sources import ImageFolder, load_json, read_label, read_points, read_size, typed
from segment.data.pairs import Finding, Remark
from segment.errors import SegmentError
from segment.files import first_names

LABELS = {"polygonlabels": "polygon", "rectanglelabels": "rectangle", "ellipselabels": "ellipse", "brushlabels": "mask"}
"""Key of the labels in a result's value, and the shape it stands for. The key "labels" stands for any shape."""
SHAPE_KEYS = {"points": "polygon", "radiusX": "ellipse", "height": "rectangle", "rle": "mask"}
"""Key of a result's value by which its shape is known."""
PLACE = ("points", "x", "y", "width", "height", "rotation", "radiusX", "radiusY", "rle")
"""Keys of a result's value that say where its shape lies; a text or a choice of the region has them, too."""
UPLOAD = re.compile(r"^[0-9a-f]{8}-")
"""Prefix that Label Studio puts before an uploaded file's name."""
LEFT_OUT = re.compile(r"[^-\w.]")
"""Characters of an uploaded file's name that Label Studio leaves out, after spaces have become underscores."""
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 360)), np.sin(np.linspace(0, 2 * np.pi, 360))], 1)
"""Points of a rectangle and of an ellipse of size 1; a result's rotation turns them around their origin."""


def is_labelstudio(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and ("data" in first or is_minimal(first))


def is_minimal(task: Any) -> bool:
    """Return whether a task is one of Label Studio's export JSON-MIN, which has its results among its data."""
    if not isinstance(task, dict) or "data" in task:
        return False
    results = [one for value in task.values() if isinstance(value, list) for one in value]
    return any(isinstance(one, dict) and "original_width" in one for one in results)


def read_labelstudio(path: Path, folder: ImageFolder) -> Iterator[Annotation | Finding]:
    """Yield the annotation of each task, or the finding that it is broken or its image is missing.

    Tasks without an annotation are left out. A remark counts the regions without a label.

    Raises:
        SegmentError: nothing of the file can be read.
    """
    uploaded: dict[str, set[str]] = {}
    for image in folder.images:
        uploaded.setdefault(LEFT_OUT.sub("", image.name.replace(" ", "_")), set()).add(image.name)
    tasks = typed(load_json(path), list, str(path))
    if any(map(is_minimal, tasks)):
        raise SegmentError(f"{path} is of the kind JSON-MIN: export as JSON, not JSON-MIN")
    unlabelled: list[str] = []
    for task in tasks:
        try:
            if results := _results(typed(task, dict, f"{path}: a task"), path):
                yield _annotation(task, results[0], path, folder, uploaded)
                unlabelled += [f"task {task.get('id')!r:.40}"] * _count_unlabelled(results[0])
        except SegmentError as error:
            yield Finding("annotation", str(error))
    if unlabelled:
        shown = first_names([*dict.fromkeys(unlabelled)])
        yield Remark("no label", f"{path}: {len(unlabelled)} regions have no label and are background: {shown}")


def _results(task: Mapping[str, Any], path: Path) -> list[list[Mapping[str, Any]]]:
    """Return the results of the last annotation that was not cancelled, in a list; an empty list if there is none."""
    done = typed(task.get("annotations", task.get("completions", [])), list, f"{path}: annotations")
    kept = [one for one in done if not typed(one, dict, f"{path}: an annotation").get("was_cancelled")]
    return [typed(one.get("result", []), list, f"{path}: a result") for one in kept[-1:]]


def _annotation(
    task: Mapping[str, Any], results: list, path: Path, folder: ImageFolder, uploaded: Mapping[str, set[str]]
) -> Annotation:
    place = f"{path}: task {task.get('id')!r:.40}"
    results = [typed(one, dict, f"{place}: a result") for one in results]
    image = _find_image(typed(task.get("data"), dict, f"{place}: data"), results, path, folder, uploaded)
    sizes = {read_size(one.get("original_height"), one.get("original_width"), place) for one in results} - {None}
    if len(sizes) > 1:
        raise SegmentError(f"{place}: its results declare images of different sizes")
    size = sizes.pop() if sizes else None
    empty = Annotation(folder.id(image), image, path, (), size)
    if size and any("rle" in value for one in results if isinstance(value := one.get("value"), dict)):
        empty.drawn_size()  # brush strokes of another size may stand for gigabytes
    return replace(empty, objects=[item for one in results for item in _objects(one, size, place)])


def _find_image(
    data: Mapping[str, Any], results: list, path: Path, folder: ImageFolder, uploaded: Mapping[str, set[str]]
) -> Path:
    """Return the image that a task names. Its address is never opened: the name is looked for below the folder.

    ``uploaded`` has the names of the folder's images by the name that Label Studio would give them.
    """
    keys = [str(one.get("to_name")) for one in results]
    values = [data[key] for key in (*keys, "image", *data) if isinstance(data.get(key), str)]
    if not values:
        raise SegmentError(f"{path}: a task names no image in its data")
    try:
        address = urlparse(values[0])
    except ValueError as error:
        raise SegmentError(f"{path}: a task's image {values[0]!r:.200} has no readable address: {error}") from None
    name = parse_qs(address.query).get("d", [unquote(address.path)])[0].replace("\\", "/").rpartition("/")[2]
    try:
        return folder.find(name, path)
    except SegmentError:
        if not UPLOAD.match(name):
            raise
        name = UPLOAD.sub("", name)
        names = sorted(uploaded.get(name, {name}))
        if len(names) > 1:
            raise SegmentError(
                f"{path}: {name} may be {names[0]!r} or {names[1]!r}: rename one of the images"
            ) from None
        return folder.find(names[0], path)


def _region(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, str]:
    """Return a result's value, the key of its labels, and its shape; empty texts where it has none."""
    value = result.get("value")
    value = value if isinstance(value, dict) else {}
    key = next((key for key in (*LABELS, "labels") if key in value), "")
    return value, key, LABELS.get(key) or next((shape for own, shape in SHAPE_KEYS.items() if own in value), "")


def _count_unlabelled(results: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of regions without a label; one of two results with the same place may have the label."""
    places: dict[bool, list[Any]] = {True: [], False: []}
    for value, key, shape in map(_region, results):
        if shape:
            places[bool(value.get(key))].append([value.get(own) for own in PLACE])
    return sum(place not in places[True] for place in places[False])


def _objects(result: Mapping[str, Any], size: tuple[int, int] | None, place: str) -> Iterator[AnnotatedObject]:
    """Yield the object of a result once for each label; results of other kinds, such as choices, yield none."""
    value, key, shape = _region(result)
    if not (key and shape):
        if (kind := str(result.get("type"))) in LABELS:
            raise SegmentError(f"{place}: a result of the type {kind} has no {kind} in its value")
        return
    if size is None:
        raise SegmentError(f"{place}: a result lacks original_width and original_height")
    for label in typed(value[key], list, f"{place}: {key}"):
        label = read_label(label, f"{place}: a label")
        if shape == "mask":
            yield AnnotatedObject(label, mask=PackedMask.pack(_brush(value, size, place)))
        else:
            yield AnnotatedObject(label, (_outline(value, shape, (size[1], size[0]), f"{place}: {label}"),))


def _outline(value: Mapping[str, Any], shape: str, size: tuple[int, int], place: str) -> np.ndarray:
    """Return points (n,2) in pixels, given the image's (width, height)."""
    if shape == "polygon":
        return read_points(value.get("points"), place) / 100 * size
    keys = ("x", "y", "width", "height") if shape == "rectangle" else ("x", "y", "radiusX", "radiusY")
    corner, sides = read_points([value.get(key) for key in keys], place) / 100 * size
    unit = CORNERS if shape == "rectangle" else CIRCLE
    ((angle, _),) = np.radians(read_points([value.get("rotation", 0), 0], f"{place}: rotation"))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # clockwise, as y points down
    return (unit * sides) @ turn + corner


def _brush(value: Mapping[str, Any], size: tuple[int, int], place: str) -> np.ndarray:
    """Return the mask bool (H,W) of brush strokes: the fourth channel of an RGBA image, in run lengths."""
    if value.get("format") != "rle":
        raise SegmentError(f"{place}: brush strokes have the format {value.get('format')!r:.40}; expected rle")
    code = typed(value.get("rle"), list, f"{place}: rle of brush strokes")
    try:
        alpha = decode_brush(np.array(code, np.uint8) if code else np.zeros(0, np.uint8), 4 * size[0] * size[1])[3::4]
    except (ValueError, TypeError, OverflowError, IndexError):
        raise SegmentError(f"{place}: brush strokes do not add up to {size[1]}x{size[0]} pixels") from None
    return alpha.reshape(size) > 0


def decode_brush(code: np.ndarray, expected: int) -> np.ndarray:
    """Return the values of Label Studio's run lengths.

    The bits, highest first, are: 32 for the number of values, 5 for the size of a value minus 1, and 4 times 4 for the
    sizes of a run's length minus 1. Then follow runs: a bit that is 1 if one value is repeated, 2 bits that choose the
    size of the length, the length minus 1, and the value or values.

    Args:
        code: bytes.
        expected: number of values.

    Raises:
        ValueError: there is another number of values.
        IndexError: the bytes end too early.
    """
    bits = np.unpackbits(code)
    at = 0

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(bits):
            raise IndexError
        found = int("".join(map(str, bits[at : at + size].tolist())), 2)
        at += size
        return found

    count, word, sizes = number(32), number(5) + 1, [number(4) + 1 for _ in range(4)]
    if count != expected or word > 8:
        raise ValueError
    values = np.zeros(count, np.uint8)
    start = 0
    while start < count:
        repeated, size = number(1), sizes[number(2)]
        length = number(size) + 1
        if start + length > count:
            raise ValueError
        if repeated:
            values[start : start + length] = number(word)
        else:
            if at + length * word > len(bits):
                raise IndexError
            words = bits[at : at + length * word].reshape(length, word)
            values[start : start + length] = words @ (1 << np.arange(word)[::-1])
            at += length * word
        start += length
    return values
