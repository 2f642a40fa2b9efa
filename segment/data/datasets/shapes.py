"""``shapes``: a data set that is drawn instead of downloaded, similar to VOC except for its size.

Textured objects overlap on a textured background. A border of 5 pixels around each object is void, and so are objects
marked difficult. A class is defined by its outline and its kind of texture. Colours of objects and background come
from one distribution, so that colour says almost nothing about the class.
"""

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from segment.data.classes import IGNORE, Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import SegmentationDataset
from segment.data.labels import index_labels
from segment.errors import SegmentError

Points = list[tuple[float, float]]
Texture = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

MAX_SIZE = 1_000_000
"""Number of images of a split."""
VOID_BORDER = 5
"""Width of the void border around an object in pixels, as in VOC."""
DIFFICULT = 0.05
"""Share of the objects that are marked difficult: they are faint, and void in the mask."""


def _regular(corners: int, inner: float = 1.0) -> Points:
    """Return a regular polygon, or a star if every second corner has the radius ``inner`` below 1."""
    turns = [(1.0 if k % 2 == 0 else inner, math.tau * (k / corners)) for k in range(corners)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in turns]


def _cross(arm: float) -> Points:
    corners = [(1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm), (-1, arm)]
    return [(float(x), float(y)) for x, y in corners + [(-x, -y) for x, y in corners]]


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, period = rng.uniform(0, math.pi), rng.uniform(6, 9)
    return np.sin((math.cos(angle) * x + math.sin(angle) * y) * (math.tau / period)) > 0


def _checks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, period = rng.uniform(0, math.pi), rng.uniform(9, 13)
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    return (np.sin(u * (math.tau / period)) > 0) ^ (np.sin(v * (math.tau / period)) > 0)


def _dots(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    period = rng.uniform(7, 10)
    return np.hypot((x + rng.uniform(0, 9)) % period - period / 2, (y + rng.uniform(0, 9)) % period - period / 2) < (
        0.3 * period
    )


def _rings(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(np.hypot(x, y) * (math.tau / rng.uniform(7, 10))) > 0


def _speckles(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cell = 3
    height, width = x.shape
    coarse = rng.random((height // cell + 1, width // cell + 1)) > 0.5
    return coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]


OBJECTS: dict[str, tuple[Points, Texture]] = {
    "disc": (_regular(36), _rings),
    "square": (_regular(4), _checks),
    "triangle": (_regular(3), _stripes),
    "star": (_regular(10, inner=0.45), _speckles),
    "cross": (_cross(0.4), _dots),
}
SHAPES = Classes(("background", *OBJECTS), voc_palette(1 + len(OBJECTS)))


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours (3,) in 0..255 that differ enough for a visible pattern."""
    first = rng.uniform(40, 215, 3)
    step = rng.normal(size=3)
    return first, np.clip(first + step * (rng.uniform(90, 150) / np.linalg.norm(step)), 0, 255)


def _background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return large soft waves between two colours, float32 (H,W,3)."""
    y, x = np.ogrid[:height, :width]
    first, second = _two_colours(rng)
    waves = np.zeros((height, width), np.float32)
    for _ in range(3):
        along_y, along_x, phase = rng.normal(0, 0.08), rng.normal(0, 0.08), rng.uniform(0, math.tau)
        # sin(a + b) computed from one row and one column is far cheaper than a sine per pixel.
        waves += np.sin(along_y * y + phase) * np.cos(along_x * x) + np.cos(along_y * y + phase) * np.sin(along_x * x)
    return (first + (second - first) * (0.5 + waves[..., None] / 6)).astype(np.float32)


def draw(rng: np.random.Generator, low: int = 96, high: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Return an image uint8 (H,W,3) and its mask uint8 (H,W), each side between ``low`` and ``high`` pixels."""
    height, width = (int(side) for side in rng.integers(low, high + 1, 2))
    image = _background(height, width, rng)
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for _ in range(rng.integers(3, 7)):
        label = int(rng.integers(1, len(SHAPES)))
        outline, texture = list(OBJECTS.values())[label - 1]
        radius, angle = rng.uniform(0.2, 0.4) * min(height, width), rng.uniform(0, math.tau)
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
        cos, sin = radius * math.cos(angle), radius * math.sin(angle)
        corners = [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in outline]
        difficult = rng.random() < DIFFICULT
        _paint(image, corners, (x, y), texture, 0.35 if difficult else 1.0, rng)
        pen.polygon(corners, fill=IGNORE if difficult else label)
        pen.line([*corners, *corners[:2]], fill=IGNORE, width=VOID_BORDER, joint="curve")
    noise = rng.integers(-14, 15, image.shape, dtype=np.int8)  # like a sensor's
    return np.clip(image + noise, 0, 255).astype(np.uint8), np.array(mask)


def _paint(
    image: np.ndarray,
    corners: Points,
    centre: tuple[float, float],
    texture: Texture,
    opacity: float,
    rng: np.random.Generator,
) -> None:
    """Fill a polygon in place with a texture of two colours; only the polygon's bounding box is computed."""
    height, width = image.shape[:2]
    (left, top), (right, bottom) = np.floor(np.min(corners, 0)), np.ceil(np.max(corners, 0)) + 1
    left, right = int(np.clip(left, 0, width)), int(np.clip(right, 0, width))
    top, bottom = int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height))
    stencil = Image.new("1", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(stencil).polygon([(u - left, v - top) for u, v in corners], fill=1)
    inside = np.asarray(stencil)[: bottom - top, : right - left]
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    pattern = texture(x - centre[0], y - centre[1], rng)
    colours = np.array(_two_colours(rng), np.float32)[pattern.astype(np.intp)]
    box = image[top:bottom, left:right]
    box[inside] += (colours[inside] - box[inside]) * opacity


@lru_cache(maxsize=1024)
def drawn(seed: int, split: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of a split and its mask, see :func:`draw`.

    The last 1024, below 100 MB, are kept: to draw an image takes as long as a small net needs for its training step.
    """
    return draw(np.random.default_rng([seed, split, index]))


class ShapesDataset(SegmentationDataset):
    """A split of ``length`` images; image ``i`` depends on (seed, split, i) alone."""

    def __init__(self, length: int, split: int, transform: Callable | None, seed: int) -> None:
        super().__init__([], index_labels(len(SHAPES)), transform, seed)
        self.length, self.split = length, split

    def __len__(self) -> int:
        return self.length

    def id(self, index: int) -> str:
        return f"{index:05d}"

    def identity(self) -> Any:
        return self.length, self.split, self.seed

    @cached_property
    def image_fingerprints(self) -> list[str]:
        return [f"shapes/{self.seed}/{self.split}/{index}" for index in range(self.length)]

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = (part.copy() for part in drawn(self.seed, self.split, index))
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)


class ShapesDataModule(SegmentationDataModule):
    """Images drawn on the fly, different ones in each split.

    The training images depend on the seed. Those for validation and test do not, so that runs with different seeds
    are evaluated on the same images, as for any other data set.

    Args:
        train_size, val_size, test_size: number of images of each split.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`; there is no ``root``.

    Example:
        >>> data = ShapesDataModule(train_size=4, val_size=2)
        >>> item = data.dataset("val")[1]
        >>> item["id"], item["image"].shape[1:] == item["mask"].shape
        ('00001', True)
    """

    name = "shapes"
    classes = SHAPES

    def __init__(self, train_size: int = 800, val_size: int = 60, test_size: int = 100, **loading: Any) -> None:
        super().__init__(root=".", **loading)
        if self.folds:
            raise SegmentError("data.folds: these images are drawn, as many as data.train_size says, and never run out")
        sizes = (train_size, val_size, test_size)
        if not all(1 <= size <= MAX_SIZE for size in sizes):
            raise SegmentError(f"data: expected sizes from 1 to {MAX_SIZE:,}, but got {sizes}")
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}

    def location(self) -> dict[str, str]:
        return {}

    def make_dataset(self, split: str, transform: Callable | None) -> SegmentationDataset:
        if split not in self.sizes:
            raise SegmentError(f"shapes has the splits {', '.join(self.sizes)}, not {split!r}")
        position = list(self.sizes).index(split)
        return ShapesDataset(self.sizes[split], position, transform, self.seed if split == "train" else 0)
