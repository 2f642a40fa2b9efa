"""Tiny annotated photos: a 30x20 image and the files that tools would write for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segment.data.annotations.sources import ImageFolder

SIZE = (30, 20)
"""Width and height."""


def save_photo(path: Path, orientation: int = 1, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, exif=exif)
    return path


def labelme(*shapes: dict[str, Any], image: str = "a.jpg", **other: Any) -> str:
    content = {"shapes": shapes, "imagePath": image, "imageHeight": SIZE[1], "imageWidth": SIZE[0], "imageData": None}
    return json.dumps({**content, **other})


def shape(label: str, points: Any, kind: str | None = "polygon", **other: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, "group_id": None, **other}


BOX = [[2, 3], [9, 3], [9, 12], [2, 12]]
"""Corners of a rectangle of 8x10 pixels."""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[], ImageFolder]:
    """Save a photo, and return a function that lists the test's folder."""
    save_photo(tmp_path / "a.jpg")
    return lambda: ImageFolder(tmp_path)


def write_labelme(root: Path, count: int = 6, **other: Any) -> Path:
    """Write photos with LabelMe's files: a person in each, and a dog in every second one."""
    for i in range(count):
        save_photo(root / f"{i:02}.jpg", size=(SIZE[0] + i, SIZE[1]))
        shapes = [shape("person", BOX)] + [shape("dog", [[15, 5], [25, 5], [25, 15], [15, 15]])] * (i % 2)
        text = labelme(*shapes, image=f"{i:02}.jpg", imageWidth=SIZE[0] + i, **other)
        (root / f"{i:02}.json").write_text(text)
    return root
