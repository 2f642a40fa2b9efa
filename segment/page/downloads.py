"""Pictures that the page shows, and the files that it offers for download."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from segment.page.photos import SegmentedPhoto
from segment.page.tables import legend_csv

SMALL_SIDE, SHOWN_SIDE = 1000, 1600
"""Longer side, in pixels, up to which pictures are enlarged on the page, and to which large ones are reduced."""


def write_classes(photo: SegmentedPhoto, name: str, folder: Path) -> list[Path]:
    """Write mask, overlay and table of a photo below a folder and return their paths, in this order.

    Args:
        photo: the photo.
        name: start of the files' names.
        folder: an existing folder.
    """
    place = _new_place(folder)
    paths = [place / f"{name}_{what}" for what in ("mask.png", "overlay.png", "classes.csv")]
    photo.found.save(paths[0])
    photo.found.overlay(legend=True).save(paths[1], compress_level=1)
    paths[2].write_text(legend_csv(photo), encoding="utf-8")
    return paths


def write_result(picture: np.ndarray, name: str, folder: Path) -> Path:
    """Write the picture of a result, uint8 (H,W,3) or (H,W,4), as a PNG below a folder and return its path."""
    path = _new_place(folder) / f"{name}.png"
    Image.fromarray(picture).save(path, compress_level=1)
    return path


def write_table(text: str, name: str, folder: Path) -> Path:
    """Write a table as CSV below a folder and return its path."""
    path = _new_place(folder) / f"{name}.csv"
    path.write_text(text, encoding="utf-8")
    return path


def shown_picture(picture: np.ndarray | Image.Image) -> Image.Image:
    """Return a picture at the size of a screen: a small one with visible pixels."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if (times := SMALL_SIDE // max(image.size)) > 1:
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return image


def _new_place(folder: Path) -> Path:
    """Make a folder of its own for each answer: two visitors may have photos of one name."""
    return Path(tempfile.mkdtemp(dir=folder))
