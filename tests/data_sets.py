"""Tiny data sets in their official layouts, as fixtures for all tests. :mod:`tests.conftest` imports them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segment.data.classes import voc_palette


def write_pair(image: Path, mask: Path, values: np.ndarray, seed: int, palette: bool = True) -> None:
    """Write a noisy JPEG or PNG, and a mask (H,W) of the given labels."""
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (*values.shape, 3))
    Image.fromarray((noise + values[..., None] % 4 * 40).astype(np.uint8)).save(image)
    (palette_image(values) if palette else Image.fromarray(values.astype(np.uint8))).save(mask)


def palette_image(values: np.ndarray) -> Image.Image:
    """Return labels (H,W) as an image of mode P with VOC's colours."""
    image = Image.fromarray(values.astype(np.uint8), mode="L")
    image.putpalette([value for colour in voc_palette(256) for value in colour])
    return image


def block_mask(rng: np.random.Generator, values: list[int]) -> np.ndarray:
    """Return a mask of random size that is made of blocks of the given labels."""
    height, width = rng.integers(4, 7, 2)
    return np.kron(rng.choice(values, (height, width)), np.ones((11, 9), int))


def write_mat(path: Path, values: np.ndarray) -> None:
    """Write a mask as SBD does: GTcls is a struct with Boundaries, Segmentation and CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    present = np.unique(values[values > 0]).astype(np.uint8)
    content = {
        "Boundaries": np.zeros((20, 1), object),
        "Segmentation": values.astype(np.uint8),
        "CategoriesPresent": present,
    }
    savemat(path, {"GTcls": content}, do_compression=True)


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2012 with 5 training and 3 validation pairs."""
    base, rng = tmp_path / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, count in (("train", 5), ("val", 3)):
        names = [f"2007_00{split[0]}{i}" for i in range(count)]
        for i, name in enumerate(names):
            image, mask = base / "JPEGImages" / f"{name}.jpg", base / "SegmentationClass" / f"{name}.png"
            write_pair(image, mask, block_mask(rng, [0, 1, 15, 20, 255]), i)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return tmp_path


@pytest.fixture
def sbd_root(voc_root: Path) -> Path:
    """``voc_root`` with an SBD release: 3 training and 2 validation images, some of them VOC's own."""
    base, rng = voc_root / "benchmark_RELEASE" / "dataset", np.random.default_rng(3)
    lists = {"train": ["2007_00t0", "2008_00s0", "2007_00v1"], "val": ["2008_00s1", "2007_00v0"]}
    for split, names in lists.items():
        for i, name in enumerate(names):
            values = block_mask(rng, [0, 3, 20])
            write_pair(base / "img" / f"{name}.jpg", base / "unused.png", values, i)
            write_mat(base / "cls" / f"{name}.mat", values)
        (base / f"{split}.txt").write_text("\n".join(names) + "\n")
    (base / "unused.png").unlink()
    return voc_root


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout: 4 training and 2 validation pairs; the lists have the authors' absolute paths."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 4), ("val", 2)):
        lines = []
        for i in range(count):
            name = f"0001TP_{i:06d}.png"
            image, mask = tmp_path / split / name, tmp_path / f"{split}annot" / name
            write_pair(image, mask, block_mask(rng, list(range(12))), i, False)
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}")
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def ade20k_root(tmp_path: Path) -> Path:
    """ADEChallengeData2016 with 4 training and 2 validation pairs."""
    base, rng = tmp_path / "ADEChallengeData2016", np.random.default_rng(2)
    for split, folder, count in (("train", "training", 4), ("val", "validation", 2)):
        for i in range(1, count + 1):
            name = f"ADE_{split}_{i:08d}"
            image, mask = base / "images" / folder / f"{name}.jpg", base / "annotations" / folder / f"{name}.png"
            write_pair(image, mask, block_mask(rng, [0, 1, 2, 75, 150]), i, False)
    return tmp_path


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """``train/`` and ``val/`` with ``images/`` and ``masks/``: 6 and 3 pairs, each class with the same share."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for i in range(count):
            values = np.kron(rng.permutation([0, 1, 2, 255]).reshape(2, 2), np.ones((10, 12), int))
            base = tmp_path / split
            write_pair(base / "images" / f"{i}.jpg", base / "masks" / f"{i}.png", values, rng.integers(1 << 30), False)
    return tmp_path
