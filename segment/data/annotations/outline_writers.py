"""Writers of outlines: LabelMe's and COCO's files."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segment.data.annotations.scenes import Picture, Scene, ShownObject
from segment.data.annotations.sources import load_json
from segment.data.annotations.tracing import Ring, simplify, trace
from segment.data.annotations.writers import Writer
from segment.data.classes import BACKGROUND
from segment.data.labels import VOID
from segment.errors import SegmentError
from segment.files import whole_file


class LabelMeWriter(Writer):
    """Copies of the images with LabelMe's JSON files beside them."""

    def last_file(self, picture: Picture) -> Path:
        return self.output / f"{picture.name}.json"

    def write(self, picture: Picture, scene: Scene) -> None:
        image = self.copy_image(picture)
        height, width = scene.numbers.shape
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": labelme_shapes(scene, self.tolerance),
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with whole_file(self.last_file(picture), encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)

    def lists(self, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        found = self.split_lists(self.output, pictures)
        return found if len(found) > 1 else {}


def labelme_shapes(scene: Scene, tolerance: float) -> list[dict[str, Any]]:
    """Return LabelMe's shapes of a scene: each part of an object is a polygon, each hole a polygon of background.

    Larger parts come first, so that a hole comes before the objects that lie in it.
    """
    parts = [(item, rings) for item in scene.objects for rings in _parts(scene, item)]
    parts.sort(key=lambda part: -int(np.prod(np.ptp(part[1][0].inside, axis=0) + 1)))
    count = Counter(item.number for item, _ in parts)
    shapes = []
    for item, (outline, *holes) in parts:
        group = item.number if count[item.number] > 1 else None
        label = {VOID: "__ignore__"}.get(item.name, item.name)
        flags = dict.fromkeys(sorted(item.flags), True)
        shapes.append(_labelme_shape(label, outline.inside, tolerance, group, flags))
        shapes += [_labelme_shape("_background_", hole.outside, tolerance, None, {}) for hole in holes]
    return shapes


def _labelme_shape(label: str, points: np.ndarray, tolerance: float, group: int | None, flags: dict) -> dict[str, Any]:
    xy = simplify(points, tolerance).astype(float).tolist()
    return {
        "label": label,
        "points": xy + [xy[0]] * max(0, 3 - len(xy)),  # LabelMe wants three, for an object of one pixel as well
        "group_id": group,
        "description": "",
        "shape_type": "polygon",
        "flags": flags,
        "mask": None,
    }


def _parts(scene: Scene, item: ShownObject) -> list[list[Ring]]:
    """Return the rings of an object's parts in the scene's coordinates."""
    rows, columns = item.box
    origin = (columns.start, rows.start)
    parts = trace(scene.mask(item))
    return [[Ring(*(points + origin for points in ring)) for ring in rings] for rings in parts]


class COCOWriter(Writer):
    """``images/`` and ``annotations/instances_SPLIT.json``; objects with holes have run lengths."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._annotations: dict[str, list[dict[str, Any]]] = {}
        self._known: dict[Path, set[str]] = {}
        self._numbers = {name: i for i, name in enumerate([*self.classes.names, VOID]) if name != BACKGROUND}

    def last_file(self, picture: Picture) -> Path:
        return self.output / "annotations" / f"instances_{picture.split}.json"

    def is_complete(self, picture: Picture) -> bool:
        path = self.last_file(picture)
        if not super().is_complete(picture):
            return False
        names = self._known.setdefault(path, {str(one.get("file_name")) for one in load_json(path).get("images", [])})
        if self._file_name(picture) not in names:
            raise SegmentError(f"{path} is complete and lacks {picture.image}: choose another folder")
        return True

    def _file_name(self, picture: Picture) -> str:
        return f"{picture.name}{picture.image.suffix.lower()}"

    def write(self, picture: Picture, scene: Scene) -> None:
        self.copy_image(picture, "images")
        images = self._images.setdefault(picture.split, [])
        items = self._annotations.setdefault(picture.split, [])
        height, width = scene.numbers.shape
        name = self._file_name(picture)
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        for item in scene.objects:
            identity = {"id": len(items) + 1, "image_id": len(images), "category_id": self._numbers[item.name]}
            items.append({**identity, **coco_object(scene, item, self.tolerance)})

    def finish(self, pictures: Sequence[Picture], changed: bool) -> None:
        categories = [{"id": i, "name": name, "supercategory": ""} for name, i in self._numbers.items()]
        for split, images in self._images.items():
            content = {"images": images, "categories": categories, "annotations": self._annotations[split]}
            path = self.output / "annotations" / f"instances_{split}.json"
            with whole_file(path, encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=False)


def coco_object(scene: Scene, item: ShownObject, tolerance: float) -> dict[str, Any]:
    """Return COCO's fields of an object, but for its ids."""
    rows, columns = item.box
    parts, mask = _parts(scene, item), scene.mask(item)
    outlines = [simplify(rings[0].corners, tolerance) for rings in parts]
    polygons = [
        (points if len(points) > 2 else rings[0].corners).ravel().tolist()
        for points, rings in zip(outlines, parts, strict=True)
    ]
    holes = any(len(rings) > 1 for rings in parts)
    return {
        "segmentation": _run_length(scene.numbers == item.number) if holes else polygons,
        "area": int(mask.sum()),
        "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
        "iscrowd": int("crowd" in item.flags),
        "attributes": dict.fromkeys(sorted(item.flags - {"crowd"}), True),
    }


def _run_length(mask: np.ndarray) -> dict[str, Any]:
    """Return the runs of a mask (H,W) in columns, the first one of zeros."""
    values = np.r_[False, mask.T.ravel()]
    starts = np.flatnonzero(np.diff(values))
    return {"size": [*mask.shape], "counts": np.diff(np.r_[0, starts, mask.size]).tolist()}
