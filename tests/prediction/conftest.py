"""A checkpoint that was not trained, but whose net gives several classes, and photos to predict."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from segment.data.datasets.shapes import draw
from tests.conftest import untrained


def varied_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of a checkpoint with random scores, so that its net gives several classes."""
    torch.manual_seed(0)
    content = torch.load(untrained(folder / "best.ckpt"), weights_only=True)
    for key, value in content["state_dict"].items():
        if ".score." in key:
            value.normal_()
    return content


def photo(seed: int) -> np.ndarray:
    """Return an image of the data set shapes, uint8 (H,W,3)."""
    return draw(np.random.default_rng(seed))[0]
