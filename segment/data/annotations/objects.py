"""Annotated objects of an image: what all readers yield, and how objects become a map of the image."""

import zlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from segment.data.classes import BACKGROUND
from segment.data.headers import ImageHeader, image_header, turn
from segment.data.images import read_failure
from segment.data.pairs import Finding
from segment.errors import SegmentError

MAX_SIDE, MAX_AREA = 2**16, 2**28
"""Largest side and number of pixels of an image that can be annotated."""
MAX_POINTS, MAX_PERIMETER = 10**5, 10**6
"""Largest number of points of an outline, and length in pixels, that is drawn within a second or so."""
LINE_WIDTH, POINT_RADIUS = 10, 5
"""Width of a line and radius of a point in pixels, as LabelMe draws them."""
NEEDED_POINTS = {
    "polygon": 3, "oriented_rectangle": 3, "rectangle": 2, "ellipse": 2, "circle": 2, "line": 2, "linestrip": 2,
}  # fmt: skip
"""Smallest number of points of each shape; a point has one."""


class Region(NamedTuple):
    """Pixels of an object: a boolean mask (h,w) whose upper left corner lies at (left, top)."""

    mask: np.ndarray
    left: int = 0
    top: int = 0


class PackedMask(NamedTuple):
    """Region of which a bit is stored for each pixel, compressed."""

    height: int
    width: int
    left: int
    top: int
    bits: bytes

    @classmethod
    def pack(cls, mask: np.ndarray, left: int = 0, top: int = 0) -> "PackedMask":
        """Return the packed form of a boolean mask (h,w), cut to the box of its pixels."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return cls(0, 0, left, top, b"")
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        bits = zlib.compress(np.packbits(mask).tobytes(), 1)
        return cls(mask.shape[0], mask.shape[1], left + int(columns[0]), top + int(rows[0]), bits)

    def region(self) -> Region:
        bits = np.frombuffer(zlib.decompress(self.bits) if self.bits else b"", np.uint8)
        mask = np.unpackbits(bits, count=self.height * self.width).astype(bool)
        return Region(mask.reshape(self.height, self.width), self.left, self.top)


class AnnotatedObject(NamedTuple):
    """One object, as its tool describes it.

    Args:
        label: as written by the annotator.
        outlines: points (n,2) as x and y in pixels; a polygon may have several.
        mask: in place of outlines.
        shape: kind of the outlines: a key of :data:`NEEDED_POINTS`, or "point".
        flags: some of "difficult", "crowd" and "occluded".
        group: parts with one label and group are one object; None for an object of its own.
    """

    label: str
    outlines: tuple[np.ndarray, ...] = ()
    mask: PackedMask | None = None
    shape: str = "polygon"
    flags: frozenset[str] = frozenset()
    group: str | None = None

    @property
    def is_empty(self) -> bool:
        """True if the object has no pixel, or an outline with too few points for its shape."""
        if self.mask is not None:
            return not self.mask.bits
        return not any(len(points) >= NEEDED_POINTS.get(self.shape, 1) for points in self.outlines)

    def area(self) -> float:
        """Return about the number of pixels; by it small objects are drawn over large ones."""
        if self.mask is not None:
            return float(self.mask.region().mask.sum())
        return sum(_polygon_area(clip(points, MAX_SIDE, MAX_SIDE)) for points in self.outlines)

    @property
    def is_drawable(self) -> bool:
        """True if no outline is so long that drawing it would take minutes or gigabytes."""
        steps = (np.diff(clip(points, MAX_SIDE, MAX_SIDE), axis=0) for points in self.outlines)
        return all(len(one) < MAX_POINTS and np.hypot(*one.T).sum() <= MAX_PERIMETER for one in steps)

    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom."""
        if self.mask is not None:
            left, top = self.mask.left, self.mask.top
            return left, top, left + self.mask.width - 1, top + self.mask.height - 1
        points = np.concatenate(self.outlines)
        return (*points.min(0), *points.max(0))


def is_void(flags: Set[str], difficult: str) -> bool:
    """Return whether objects with these flags are void: crowds, and difficult ones unless they count like others.

    Args:
        difficult: "void", or "class" to count difficult objects like others.
    """
    return "crowd" in flags or ("difficult" in flags and difficult == "void")


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def draw_by_pil(item: AnnotatedObject, height: int, width: int) -> Region:
    """Return an object's pixels in a frame as PIL draws them, the way of LabelMe."""
    outlines = [clip(points, height, width) for points in item.outlines]
    margin = {"point": POINT_RADIUS, "line": LINE_WIDTH, "linestrip": LINE_WIDTH}.get(item.shape, 1)
    points = np.concatenate(outlines)
    if item.shape == "circle":  # centre and a point of the rim
        margin = int(np.hypot(*(points[1] - points[0]))) + 2
    low = np.maximum(np.floor(points.min(0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(points.max(0)) + margin + 1, (width, height)).astype(int)
    if (high <= low).any():
        return Region(np.zeros((0, 0), bool))
    image = Image.new("L", tuple(high.tolist()))  # not the box alone: PIL rounds shifted points in another way
    for outline in outlines:
        _draw_shape(ImageDraw.Draw(image), item.shape, outline)
    return Region(np.asarray(image.crop((*low.tolist(), *high.tolist()))) > 0, int(low[0]), int(low[1]))


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, points: np.ndarray) -> None:
    xy = [(float(x), float(y)) for x, y in points]
    if len(xy) < NEEDED_POINTS.get(shape, 1):
        return
    if shape in {"rectangle", "ellipse"}:
        corners = [*points.min(0).tolist(), *points.max(0).tolist()]
        (draw.rectangle if shape == "rectangle" else draw.ellipse)(corners, fill=1, outline=1)
    elif shape == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        draw.ellipse([*(points[0] - radius).tolist(), *(points[0] + radius).tolist()], fill=1, outline=1)
    elif shape in {"line", "linestrip"}:
        draw.line(xy, fill=1, width=LINE_WIDTH)
    elif shape == "point":
        (x, y), r = xy[0], POINT_RADIUS
        draw.ellipse([x - r, y - r, x + r, y + r], fill=1, outline=1)
    else:
        draw.polygon(xy, fill=1, outline=1)


def clip(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return points that lie at most one image size outside the image: rasterisers fail on huge coordinates."""
    return np.clip(points, (-width, -height), (2 * width, 2 * height))


@dataclass(frozen=True, eq=False)
class Annotation:
    """The objects of one image.

    Args:
        id: the image's path below the data set's folder, without its suffix.
        image: path of the image.
        file: that the annotation was read from.
        objects: in the order in which they are drawn.
        size: (height, width) that the file declares; None for that of the upright image.
        split: that the file states, if it does.
        draw: the format's rasteriser.

    Raises:
        SegmentError: an outline is too long to be drawn.
    """

    id: str
    image: Path
    file: Path
    objects: Sequence[AnnotatedObject] = field(repr=False)
    size: tuple[int, int] | None = None
    split: str | None = None
    draw: Callable[[AnnotatedObject, int, int], Region] = draw_by_pil

    def __post_init__(self) -> None:
        for item in self.objects:
            if not item.is_drawable:
                limits = f"{MAX_POINTS} points or {MAX_PERIMETER} pixels"
                raise SegmentError(f"{self.file}: an outline of {item.label} has more than {limits}")

    def object_map(self, header: ImageHeader) -> np.ndarray:
        """Return for each pixel (H,W) of the upright image its object's number from 1, or 0 for none.

        Raises:
            SegmentError: the declared size is not the image's.
        """
        orientation, height, width = self.frame(header)
        found = np.zeros((height, width), np.int32)
        for number, item in zip(self.numbers(), self.objects, strict=True):
            if item.is_empty:
                continue
            mask, left, top = item.mask.region() if item.mask is not None else self.draw(item, height, width)
            shown = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
            y, x = max(0, top), max(0, left)
            part = found[y : y + shown.shape[0], x : x + shown.shape[1]]
            part[shown] = 0 if item.label == BACKGROUND else number
        return np.ascontiguousarray(turn(found, orientation))

    def numbers(self) -> list[int]:
        """Return a number from 1 for each entry of ``objects``; parts of one object have that of its first part."""
        first: dict[object, int] = {}
        keys = [None if item.group is None else (item.label, item.group, item.flags) for item in self.objects]
        return [i if key is None else first.setdefault(key, i) for i, key in enumerate(keys, 1)]

    def whole_objects(self) -> list[AnnotatedObject]:
        """Return the first part of each object."""
        return [
            item for i, (number, item) in enumerate(zip(self.numbers(), self.objects, strict=True), 1) if number == i
        ]

    def frame(self, header: ImageHeader) -> tuple[int, int, int]:
        """Return the orientation that makes the annotation upright, and the height and width that it is drawn in.

        Raises:
            SegmentError: the declared size is not the image's.
        """
        width, height = header.size
        own = self.size or (height, width)
        if own == (height, width):
            return 1, height, width
        if header.swapped and own == (width, height):
            return header.orientation, width, height
        raise SegmentError(
            f"{self.file} is made for {own[1]}x{own[0]} pixels, but its image {self.image} has "
            f"{width}x{height} (width x height)"
        )

    def drawn_size(self) -> tuple[int, int]:
        """Return the (height, width) that the annotation is drawn in, by the header of its image.

        Raises:
            SegmentError: the image cannot be read, or the declared size is not the image's.
        """
        try:
            header = image_header(self.image)
        except Exception as error:  # a damaged image makes PIL raise all kinds of errors
            raise SegmentError(f"cannot read {self.image}: {read_failure(error)}") from None
        return self.frame(header)[1:]

    def labels(self) -> list[str]:
        """Return the labels that occur, once for each object."""
        return [item.label for item in self.whole_objects()]

    def label_map(self, header: ImageHeader, label_of: Callable[[AnnotatedObject], int]) -> np.ndarray:
        """Return the labels uint8 (H,W) of the upright image, given that of each object.

        Raises:
            SegmentError: see :meth:`object_map`.
        """
        return np.array([0, *map(label_of, self.objects)], np.uint8)[self.object_map(header)]

    def load(self) -> "Annotation":
        """Return the annotation with its objects, where a reader leaves them in the file."""
        return self


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """Mask of a sample that is drawn from its annotation.

    Args:
        annotation: of the image.
        label_of: gives the label of an object's pixels.
    """

    annotation: Annotation
    label_of: Callable[[AnnotatedObject], int]

    def frame_problem(self, image: ImageHeader) -> Finding | None:
        try:
            self.annotation.frame(image)
        except SegmentError as error:
            return Finding("frame", str(error))
        return None

    def draw(self, image: ImageHeader) -> np.ndarray:
        return self.annotation.label_map(image, self.label_of)
