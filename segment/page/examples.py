"""Examples beside the upload: some photos of the validation split that a net was trained with."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segment.cli.build import instantiate
from segment.data.headers import image_header
from segment.page.photos import LARGEST_FILE, LARGEST_PHOTO

EXAMPLES_SHOWN = 6
"""Number of examples."""
VISIBLE = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
"""Suffixes of images that browsers show."""


def find_examples(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return copies of images of the validation split, evenly spaced.

    Args:
        data: the checkpoint's data configuration, see :func:`segment.records.checkpoint.data_config`.
        folder: an empty folder for them.

    Raises:
        SegmentError: there is no data set at hand.
        OSError: a file cannot be read or written.
    """
    module = instantiate(data)
    dataset = module.make_dataset(module.val_split, None)
    chosen = (
        np.unique(np.linspace(0, len(dataset) - 1, EXAMPLES_SHOWN).round().astype(int)).tolist() if len(dataset) else []
    )
    paths = []
    for i in chosen:
        (folder / str(i)).mkdir()
        if not dataset.samples:  # drawn on the fly
            paths.append(folder / str(i) / f"{dataset.id(i)}.png")
            Image.fromarray(dataset.load(i)[0].permute(1, 2, 0).numpy()).save(paths[-1])
        elif _is_shown(source := dataset.samples[i].image):
            paths.append(Path(shutil.copy(source, folder / str(i))))
    return paths


def _is_shown(path: Path) -> bool:
    width, height = image_header(path).size
    fits = width * height <= LARGEST_PHOTO and path.stat().st_size <= LARGEST_FILE
    return path.suffix.lower() in VISIBLE and fits
