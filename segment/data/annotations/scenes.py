"""Objects of an image as they are shown: what is written into the formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from segment.data.annotations.masks import component_numbers
from segment.data.annotations.objects import AnnotatedObject, Annotation
from segment.data.classes import BACKGROUND, IGNORE, Classes
from segment.data.headers import image_header, open_image
from segment.data.labels import VOID


class ShownObject(NamedTuple):
    """An object of a scene.

    Args:
        number: value of its pixels in the scene's map.
        name: of its class, or "void".
        flags: see :class:`segment.data.annotations.objects.AnnotatedObject`.
        box: rows and columns that hold it.
    """

    number: int
    name: str
    flags: frozenset[str]
    box: tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Scene:
    """Map of an upright image in which each pixel has its object's number, or 0 for background.

    Args:
        numbers: (H,W).
        objects: of the numbers that occur.
    """

    numbers: np.ndarray = field(repr=False)
    objects: Sequence[ShownObject]

    def mask(self, item: ShownObject) -> np.ndarray:
        """Return an object's pixels, bool (h,w) within its box."""
        return self.numbers[item.box] == item.number

    def values(self, value_of: Callable[[ShownObject], int]) -> np.ndarray:
        """Return the map (H,W) of a value for each object, and 0 for background."""
        table = np.zeros(int(self.numbers.max(initial=0)) + 1, np.int64)
        for item in self.objects:
            table[item.number] = value_of(item)
        return table[self.numbers]


class Picture(NamedTuple):
    """An image to convert.

    Args:
        name: of its files, without suffix; it may have slashes.
        image: path.
        split: train, val or test.
        scene: reads or draws the objects; it may raise SegmentError.
    """

    name: str
    image: Path
    split: str
    scene: Callable[[], Scene]


def scene_of_annotation(annotation: Annotation, name_of: Callable[[AnnotatedObject], str]) -> Scene:
    """Return the scene of an annotation, given the class of each object.

    Raises:
        SegmentError: the annotation cannot be read, or does not fit its image.
    """
    annotation = annotation.load()
    numbers = annotation.object_map(image_header(annotation.image))
    kinds = [(name_of(item), item.flags) for item in annotation.objects]
    return _scene(numbers, kinds)


def scene_of_labels(labels: np.ndarray, classes: Classes) -> Scene:
    """Return the scene of a class map (H,W): each connected part of a class is an object, the background is none."""
    shown = labels.astype(np.int64) + 1
    if BACKGROUND in classes.names:
        shown[labels == classes.names.index(BACKGROUND)] = 0
    numbers = component_numbers(shown)
    found, first = np.unique(numbers, return_index=True)
    own = labels.ravel()[first[found > 0]].tolist()
    kinds = [(VOID if label == IGNORE else classes.names[label], frozenset[str]()) for label in own]
    return _scene(numbers, kinds)


def scene_of_mask(path: Path, classes: Classes) -> Scene:
    """Return the scene of a mask of class indices, as ``segment.predict`` writes it."""
    with open_image(path) as image:
        return scene_of_labels(np.array(image), classes)


def _scene(numbers: np.ndarray, kinds: Sequence[tuple[str, frozenset[str]]]) -> Scene:
    boxes = ndimage.find_objects(numbers)
    objects = [
        ShownObject(i, *kind, box)
        for i, (kind, box) in enumerate(zip(kinds, [*boxes, *[None] * (len(kinds) - len(boxes))], strict=True), 1)
        if box is not None and kind[0] != BACKGROUND
    ]
    kept = np.zeros(len(kinds) + 1, bool)
    kept[[item.number for item in objects]] = True
    return Scene(np.where(kept[numbers], numbers, 0), objects)
