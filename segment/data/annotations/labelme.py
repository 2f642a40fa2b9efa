"""LabelMe: a JSON file for each image, and the XML files of MIT's web tool."""

import base64
import binascii
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from segment.data.annotations.objects import MAX_AREA, AnnotatedObject, Annotation, PackedMask
from segment.data.annotations.sources import (
    CVAT_XML,
    ImageFolder,
    flag,
    is_true,
    load_json,
    read_label,
    read_points,
    read_size,
    read_xml,
    typed,
)
from segment.data.headers import open_image
from segment.errors import SegmentError
from segment.files import printable

LABELME_SHAPES = {"polygon", "rectangle", "circle", "line", "linestrip", "point", "oriented_rectangle", "mask"}


def is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content


def read_labelme(path: Path, folder: ImageFolder) -> Annotation:
    """Read a LabelMe JSON file.

    Raises:
        SegmentError: it is broken, or its image is missing.
    """
    content = typed(load_json(path), dict, str(path))
    shapes = typed(content.get("shapes"), list, f"{path}: shapes")
    name = content.get("imagePath") or path.stem
    image = folder.find(typed(name, str, f"{path}: imagePath"), path)
    size = read_size(content.get("imageHeight"), content.get("imageWidth"), str(path))
    objects = [_shape(typed(shape, dict, f"{path}: a shape"), str(path)) for shape in shapes]
    return Annotation(folder.id(image), image, path, objects, size)


def _shape(shape: Mapping[str, Any], path: str) -> AnnotatedObject:
    label = read_label(shape.get("label"), f"{path}: a label")
    kind = typed(shape.get("shape_type") or "polygon", str, f"{path}: a shape_type")
    if kind not in LABELME_SHAPES:
        raise SegmentError(
            f"{path}: unknown shape_type {kind!r:.40}; expected one of {', '.join(sorted(LABELME_SHAPES))}"
        )
    flags = frozenset({"difficult"} if flag(shape.get("flags"), "difficult") else ())
    group = None if shape.get("group_id") is None else f"{shape['group_id']!r:.40}"
    points = read_points(shape.get("points"), f"{path}: points of {label}")
    if kind == "mask":
        return AnnotatedObject(label, mask=_mask(shape, points, path), flags=flags, group=group)
    return AnnotatedObject(label, (points,), shape=kind, flags=flags, group=group)


def _mask(shape: Mapping[str, Any], points: np.ndarray, path: str) -> PackedMask:
    """Return a mask that is a PNG in base64 of the box alone, whose corners are the points."""
    try:
        content = base64.b64decode(typed(shape.get("mask"), str, f"{path}: a mask"), validate=True)
        with open_image(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_AREA:
                raise SegmentError(f"{path}: a mask has {image.width}x{image.height} pixels")
            mask = np.array(image.convert("L")) > 0
    except SegmentError:
        raise
    except Exception as error:  # a damaged image makes PIL raise all kinds of errors
        kind = "base64" if isinstance(error, binascii.Error) else "PNG"
        raise SegmentError(f"{path}: a mask is no {kind}") from None
    corners = np.clip(points, -(2**31), 2**31).astype(int)
    if len(corners) != 2 or (np.abs(corners[1] - corners[0]) + 1).tolist() != [*mask.shape[::-1]]:
        raise SegmentError(f"{path}: a mask of {mask.shape[1]}x{mask.shape[0]} pixels does not fit its corners")
    return PackedMask.pack(mask, *corners.min(0).tolist())


def read_labelme_xml(path: Path, folder: ImageFolder) -> Annotation:
    """Read an XML file of MIT's LabelMe web tool.

    Deleted objects are left out. Objects are drawn in the order of the file, parts over their whole.

    Raises:
        SegmentError: it is broken, or its image is missing.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        reason = (
            CVAT_XML
            if root.tag == "annotations"
            else f"has <{printable(root.tag[:40])}>; LabelMe's XML has <annotation>"
        )
        raise SegmentError(f"{path} {reason}")
    image = folder.find(_text(root, "filename") or path.stem, path)
    sides = [_number(_text(root, f"imagesize/{name}"), str(path)) for name in ("nrows", "ncols")]
    items = [item for item in root.findall("object") if not is_true(_text(item, "deleted"))]
    items.sort(key=lambda item: bool(_text(item, "parts/ispartof")))
    objects = [_xml_object(item, path) for item in items]
    return Annotation(folder.id(image), image, path, objects, read_size(sides[0], sides[1], str(path)))


def _xml_object(item: Element, path: Path) -> AnnotatedObject:
    label = read_label(_text(item, "name"), f"{path}: a name")
    flags = {name for name in ("difficult", "occluded") if is_true(_text(item, name))}
    flags |= {"difficult"} & {part.strip() for part in _text(item, "attributes").split(",")}
    if item.find("segm") is not None:
        raise SegmentError(f"{path}: {label} has a mask in a file of its own, which is not read: only polygons are")
    pairs = [[_number(_text(point, axis), str(path)) for axis in "xy"] for point in item.findall("polygon/pt")]
    points = read_points([pair for pair in pairs if None not in pair], f"{path}: points of {label}")
    return AnnotatedObject(label, (points,), flags=frozenset(flags))


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _number(text: str, path: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise SegmentError(f"{path}: expected a number, got {text!r:.40}") from None
