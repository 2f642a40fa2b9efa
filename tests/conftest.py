"""The entry points as a user starts them, and the fixtures of all data sets."""

import itertools
import os
import runpy
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.data_sets import ade20k_root, camvid_root, folder_root, sbd_root, voc_root, write_pair  # noqa: F401

SHARED = Path(__file__).parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, real data that is not in the project")

SMALL = ("model=fcn_small", "model.encoder.width=8", "data.num_workers=0", "data.batch_size=2")
"""A net that is built and trained in no time."""


def untrained(path: Path, *words: str) -> Path:
    """Write a checkpoint of a small net as it begins, for the data set and model of some words."""
    import torch

    from segment.cli.build import instantiate
    from segment.cli.config import load_config, plain
    from segment.records.checkpoint import make_metadata

    config = load_config([*SMALL, *words])
    data = instantiate(config.data)
    torch.manual_seed(0)
    state = instantiate(config.model, num_classes=len(data.classes)).state_dict()
    metadata = make_metadata(plain(config.model), plain(config.data), data.classes)
    torch.save({"segment": metadata, "state_dict": {f"net.{key}": value for key, value in state.items()}}, path)
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
