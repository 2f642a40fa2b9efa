"""Tiny data sets in their official layouts, and functions that run the commands as a user does."""

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

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs ../shared, which holds real data and is not part of the repository"
)

SMALL = ("model=fcn_small", "model.encoder.width=8", "data.num_workers=0", "data.batch_size=2")
"""Overrides for a net that is built and trained in a moment."""


def write_pair(image: Path, mask: Path, values: np.ndarray, seed: int, palette: bool = True) -> None:
    """Write a noisy JPEG or PNG and a mask with the given labels (H,W)."""
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (*values.shape, 3))
    Image.fromarray((noise + values[..., None] % 4 * 40).astype(np.uint8)).save(image)
    picture = Image.fromarray(values.astype(np.uint8), mode="L")
    if palette:
        picture.putpalette([value for colour in voc_palette(256) for value in colour])
    picture.save(mask)


def labels(rng: np.random.Generator, values: list[int]) -> np.ndarray:
    """Return a mask of random size, made of blocks of the given values."""
    height, width = rng.integers(4, 7, 2)
    return np.kron(rng.choice(values, (height, width)), np.ones((11, 9), int))


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """Write VOCdevkit/VOC2012 with 5 training and 3 validation pairs."""
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
    """Write CamVid in SegNet's layout: 4 training and 2 validation pairs, and lists with the authors' own prefix."""
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
    """Write ADEChallengeData2016 with 4 training and 2 validation pairs."""
    base, rng = tmp_path / "ADEChallengeData2016", np.random.default_rng(2)
    for split, folder, count in (("train", "training", 4), ("val", "validation", 2)):
        for i in range(1, count + 1):
            name = f"ADE_{split}_{i:08d}"
            image, mask = base / "images" / folder / f"{name}.jpg", base / "annotations" / folder / f"{name}.png"
            write_pair(image, mask, labels(rng, [0, 1, 2, 75, 150]), i, False)
    return tmp_path


def untrained(path: Path, *overrides: str) -> Path:
    """Write a checkpoint of a small net that was not trained.

    Args:
        path: of the checkpoint.
        overrides: that choose the data set and the model.
    """
    import torch

    from segment.cli.build import instantiate
    from segment.cli.config import load_config, plain
    from segment.models.state_dicts import METADATA
    from segment.records.checkpoint import make_metadata

    config = load_config([*SMALL, *overrides])
    data = instantiate(config.data)
    torch.manual_seed(0)
    state = instantiate(config.model, num_classes=len(data.classes)).state_dict()
    metadata = make_metadata(plain(config.model), plain(config.data), data.classes)
    torch.save({METADATA: metadata, "state_dict": {f"net.{key}": value for key, value in state.items()}}, path)
    return path


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``python -m segment.NAME OVERRIDES`` in a new process, by default in the test's own folder."""

    def start(name: str, *overrides: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess:
        environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "COLUMNS": "120"}
        done = subprocess.run(
            [sys.executable, "-m", f"segment.{name}", *overrides],
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
    """Run a command as ``python -m`` does, but in this process: the imports would take ten seconds.

    Returns:
        A function of the command's name and its overrides that returns the run folder.
    """
    folders = (tmp_path / f"run{i}" for i in itertools.count())

    def start(name: str, *overrides: str) -> Path:
        given = [one.partition("=")[2] for one in overrides if one.startswith("hydra.run.dir=")]
        folder = Path(given[0]) if given else next(folders)
        if not given and name != "predict":
            overrides = (*overrides, f"hydra.run.dir={folder}")
        monkeypatch.setattr(sys, "argv", [name, *overrides])
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        runpy.run_module(f"segment.{name}", run_name="__main__")
        return folder

    return start


def chunks(content: bytes):
    """Yield the kind and the content of each chunk of a PNG."""
    start = 8
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        yield content[start + 4 : start + 8], content[start + 8 : start + 8 + length]
        start += 12 + length


def without_rows(content: bytes) -> bytes:
    """Return a PNG whose pixel data end too early, with correct checksums."""
    parts = dict(chunks(content))
    pixels = zlib.decompress(parts[b"IDAT"])
    parts[b"IDAT"] = zlib.compress(pixels[: len(pixels) // 2])
    return content[:8] + b"".join(
        len(part).to_bytes(4, "big") + kind + part + zlib.crc32(kind + part).to_bytes(4, "big")
        for kind, part in parts.items()
    )
