"""Tiny data sets in their official layouts, and the entry points as a user starts them."""

import itertools
import os
import runpy
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from segment.data.classes import voc_palette

SHARED = Path(__file__).parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, real data that is not in the project")

SMALL = ("model=fcn_small", "model.encoder.width=8", "data.num_workers=0", "data.batch_size=2")
"""A net that is built and trained in no time."""


def write_pair(image: Path, mask: Path, values: np.ndarray, seed: int, palette: bool = True) -> None:
    """A noisy JPEG or PNG and its mask of the given labels."""
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (*values.shape, 3))
    Image.fromarray((noise + values[..., None] % 4 * 40).astype(np.uint8)).save(image)
    picture = Image.fromarray(values.astype(np.uint8), mode="L")
    if palette:
        picture.putpalette([value for colour in voc_palette(256) for value in colour])
    picture.save(mask)


def labels(rng: np.random.Generator, values: list[int]) -> np.ndarray:
    """A mask of varied size, made of blocks of the given values."""
    height, width = rng.integers(4, 7, 2)
    return np.kron(rng.choice(values, (height, width)), np.ones((11, 9), int))


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
            write_pair(image, mask, labels(rng, [0, 1, 15, 20, 255]), i)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return tmp_path


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout: 4 training and 2 validation pairs, lists with the authors' absolute prefix."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 4), ("val", 2)):
        lines = []
        for i in range(count):
            name = f"0001TP_{i:06d}.png"
            write_pair(
                tmp_path / split / name, tmp_path / f"{split}annot" / name, labels(rng, list(range(12))), i, False
            )
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
            write_pair(image, mask, labels(rng, [0, 1, 2, 75, 150]), i, False)
    return tmp_path


def untrained(path: Path, *words: str) -> Path:
    """Write a checkpoint of a small net as it begins, for the data set and model of some words."""
    import torch

    from segment.cli.build import instantiate
    from segment.cli.config import load_config, plain
    from segment.records.checkpoint import make_card

    config = load_config([*SMALL, *words])
    data = instantiate(config.data)
    torch.manual_seed(0)
    state = instantiate(config.model, num_classes=len(data.classes)).state_dict()
    card = make_card(plain(config.model), plain(config.data), data.classes)
    torch.save({"segment": card, "state_dict": {f"net.{key}": value for key, value in state.items()}}, path)
    return path


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Start ``python -m segment.NAME WORDS`` in a folder of its own."""

    def start(name: str, *words: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
        environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "COLUMNS": "120"}
        done = subprocess.run(
            [sys.executable, "-m", f"segment.{name}", *words],
            cwd=cwd or tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return start


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run an entry point as ``python -m`` does, but in this process, which saves the imports' ten seconds.

    Returns:
        A function of the entry point's name and its words that gives the run directory.
    """
    folders = (tmp_path / f"run{i}" for i in itertools.count())

    def start(name: str, *words: str) -> Path:
        given = [word.partition("=")[2] for word in words if word.startswith("hydra.run.dir=")]
        folder = Path(given[0]) if given else next(folders)
        if not given and name != "predict":
            words = (*words, f"hydra.run.dir={folder}")
        monkeypatch.setattr(sys, "argv", [name, *words])
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        runpy.run_module(f"segment.{name}", run_name="__main__")
        return folder

    return start


def chunks(content: bytes):
    """The parts of a PNG behind its first eight bytes: kind and content of each."""
    start = 8
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        yield content[start + 4 : start + 8], content[start + 8 : start + 8 + length]
        start += 12 + length


def without_rows(content: bytes) -> bytes:
    """A PNG whose pixels end too early, under checksums that are right."""
    parts = dict(chunks(content))
    pixels = zlib.decompress(parts[b"IDAT"])
    parts[b"IDAT"] = zlib.compress(pixels[: len(pixels) // 2])
    return content[:8] + b"".join(
        len(part).to_bytes(4, "big") + kind + part + zlib.crc32(kind + part).to_bytes(4, "big")
        for kind, part in parts.items()
    )
