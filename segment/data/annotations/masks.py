"""Objects of mask files: VOC's layout, which CVAT's export "Segmentation mask 1.1" has, too."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from segment.data.annotations.objects import AnnotatedObject, Annotation, PackedMask
from segment.data.annotations.sources import SPLITS, ImageFolder, is_true, read_text, read_xml
from segment.data.classes import BACKGROUND, IGNORE, VOID_COLOUR
from segment.data.headers import ImageHeader, open_image, turn
from segment.data.images import read_failure
from segment.data.labels import VOID, Labels
from segment.data.pairs import Finding
from segment.errors import SegmentError

CLASS_MASKS, OBJECT_MASKS = "SegmentationClass", "SegmentationObject"
"""Folders of the masks."""
NOT_COUNTED = "not counted"
"""Kind of a note on objects whose mask or XML file cannot be read."""
NEIGHBOURS = np.ones((3, 3))
"""Pixels that touch at a corner belong to one object."""
VOID_VALUES = (IGNORE, (VOID_COLOUR[0] << 16) + (VOID_COLOUR[1] << 8) + VOID_COLOUR[2])
"""Values of void in a mask of objects: the index, and the colour as one number."""


@dataclass(frozen=True, eq=False)
class MaskAnnotation(Annotation):
    """Annotation whose file is a mask. Its objects are read by :meth:`load`.

    Args:
        table: label of each mask value or colour.
        object_mask: mask with a value of its own for each object, if there is one.
        xml: VOC's description of the objects, if there is one.
    """

    table: tuple[tuple[Any, str], ...] = ()
    object_mask: Path | None = None
    xml: Path | None = None

    def labels(self) -> list[str]:
        return [label for _, label in self.table]

    def label_map(self, header: ImageHeader, label_of: Callable[[AnnotatedObject], int]) -> np.ndarray:
        values = self._read({label: label_of(AnnotatedObject(label)) for label in self.labels()})
        orientation = replace(self, size=values.shape).frame(header)[0]
        return np.ascontiguousarray(turn(values, orientation))

    def _read(self, numbers: Mapping[str, int]) -> np.ndarray:
        """Return the mask (H,W) with each label's number."""
        labels = _labels(tuple((value, numbers[label]) for value, label in self.table))
        mask, unknown = labels.translate(labels.read_values(self.file))
        if unknown:
            kind = "colours" if labels.coloured else "values"
            raise SegmentError(f"{self.file} holds {len(unknown)} {kind} that no class has")
        return mask.numpy()

    def load(self) -> Annotation:
        """Return the annotation with its objects.

        Raises:
            SegmentError: a mask cannot be read, or the two masks differ in size.
        """
        names = [BACKGROUND, *sorted({*self.labels()} - {BACKGROUND, VOID})]
        classes = self._read({VOID: IGNORE, **{name: i for i, name in enumerate(names)}})
        given = np.zeros_like(classes) if self.object_mask is None else _object_values(self.object_mask)
        if given.shape != classes.shape:
            raise SegmentError(f"{self.object_mask} and {self.file} differ in size")
        given = np.where(np.isin(given, VOID_VALUES), 0, given)
        rest = component_numbers(np.where(given > 0, 0, classes))  # void, and objects without a number
        numbers = np.where(given > 0, given.astype(np.int64) + rest.max(), rest)
        objects = [*_objects(classes, numbers, names)]
        if self.xml is not None:
            objects = _flag_objects(objects, read_boxes(self.xml))
        return Annotation(self.id, self.image, self.file, objects, classes.shape, self.split)


@lru_cache(8)
def _labels(table: tuple[tuple[Any, int], ...]) -> Labels:
    return Labels(dict(table))


def component_numbers(classes: np.ndarray) -> np.ndarray:
    """Return the number, from 1, of the connected part of one class (H,W) that each pixel is in; 0 for class 0."""
    numbers, count = np.zeros(classes.shape, np.int64), 0
    for label in np.unique(classes[classes > 0]):
        parts, found = ndimage.label(classes == label, NEIGHBOURS)
        numbers = np.where(parts > 0, parts + count, numbers)
        count += found
    return numbers


def _object_values(path: Path) -> np.ndarray:
    """Return the values of a mask of objects: indices, or colours as numbers of 24 bits."""
    try:
        with open_image(path) as image:
            coloured = image.mode not in {"P", "L"}
    except Exception as error:  # a damaged file makes PIL raise all kinds of errors
        raise SegmentError(f"cannot read the mask {path}: {read_failure(error)}") from None
    return _labels((((0, 0, 0), 0) if coloured else (0, 0),)).read_values(path).astype(np.int64)


def _objects(classes: np.ndarray, numbers: np.ndarray, names: list[str]) -> Iterator[AnnotatedObject]:
    """Yield an object for each number above 0; its label is the most frequent one of its pixels."""
    found, order = np.unique(numbers, return_inverse=True)
    order = order.reshape(numbers.shape) + (found[0] != 0)
    for number, box in enumerate(ndimage.find_objects(order), 1):
        mask = order[box] == number
        label = int(np.bincount(classes[box][mask]).argmax())
        top, left = box[0].start, box[1].start
        yield AnnotatedObject(VOID if label == IGNORE else names[label], mask=PackedMask.pack(mask, left, top))


class ObjectBox(NamedTuple):
    """An object of VOC's XML: label, box (left, top, right, bottom) in pixels from 0, and flags."""

    label: str
    box: tuple[float, ...]
    flags: frozenset[str]


def read_boxes(path: Path) -> list[ObjectBox]:
    """Return the objects of one of VOC's XML files.

    Raises:
        SegmentError: it is broken.
    """
    found = []
    for item in read_xml(path).findall("object"):
        try:
            box = [float(item.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")]
            if not np.isfinite(box).all():
                raise ValueError
        except ValueError:
            raise SegmentError(f"{path}: an object has no box of four finite numbers") from None
        flags = {name for name in ("difficult", "occluded") if is_true(item.findtext(name))}
        found.append(
            ObjectBox((item.findtext("name") or "").strip(), tuple(side - 1 for side in box), frozenset(flags))
        )
    return found


def _flag_objects(objects: list[AnnotatedObject], boxes: list[ObjectBox]) -> list[AnnotatedObject]:
    """Return the objects with the flags of the boxes that overlap with them most; each box belongs to one object."""
    own = [item.box() for item in objects]
    overlaps = ((_overlap(one, box.box), i, j) for i, one in enumerate(own) for j, box in enumerate(boxes))
    pairs = [pair for pair in overlaps if pair[0] > 0.5]  # of 10^5 boxes, all pairs would take gigabytes
    flags: dict[int, frozenset[str]] = {}
    taken: set[int] = set()
    for _, i, j in sorted(pairs, reverse=True):
        if i not in flags and j not in taken and objects[i].label == boxes[j].label:
            flags[i] = boxes[j].flags
            taken.add(j)
    return [item._replace(flags=flags.get(i, frozenset())) for i, item in enumerate(objects)]


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Return the intersection of two boxes divided by their union; 0 for a box whose sides are swapped."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second)]
    return shared / (sum(areas) - shared) if shared else 0.0


def read_layout(base: Path, table: Mapping[Any, str], root: Path) -> Iterator[Annotation | Finding]:
    """Yield the annotation of each mask of VOC's layout, or the finding that its image is missing.

    Args:
        base: folder that holds ``SegmentationClass``.
        table: label of each mask value or colour.
        root: the data set's folder; images are looked for below it, first in ``base/JPEGImages``.
    """
    masks, folder = ImageFolder(base / CLASS_MASKS), ImageFolder(root, (CLASS_MASKS, OBJECT_MASKS))
    splits = _splits(base / "ImageSets" / "Segmentation")
    for path in masks.images:
        name = masks.id(path)
        other = base / OBJECT_MASKS / path.relative_to(base / CLASS_MASKS)
        xml = base / "Annotations" / f"{name}.xml"
        try:
            image = folder.find(path.stem, path, (base / "JPEGImages" / name).parent)
            if not all(
                masks_folder.contains(one) for masks_folder, one in ((masks, path), (folder, other), (folder, xml))
            ):
                raise SegmentError(f"{path}: a link leaves the folder {root}")
        except SegmentError as error:
            yield Finding("annotation", str(error))
            continue
        yield MaskAnnotation(
            name,
            image,
            path,
            (),
            split=splits.get(name),
            table=tuple(table.items()),
            object_mask=other if other.exists() else None,
            xml=xml if xml.exists() else None,
        )


def _splits(lists: Path) -> dict[str, str]:
    """Return the split of each name that a list of one split names."""
    found: dict[str, str] = {}
    for path in sorted(lists.glob("*.txt")):
        if (split := SPLITS.get(path.stem.lower())) is not None:
            lines = read_text(path).splitlines()
            found |= {line.split()[0]: split for line in lines if line.strip()}
    return found
