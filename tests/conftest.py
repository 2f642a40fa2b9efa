"""The entry points as a user starts them, and the fixtures of all data sets."""

import itertools
import os
import runpy
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from segment.data.workers import cores
from tests.data_sets import ade20k_root, camvid_root, folder_root, sbd_root, voc_root, write_pair  # noqa: F401
from tests.hub_server import HubServer, running_hub

# Before torch is imported: tests that run beside each other share the cores.
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))))

SHARED = Path(__file__).parents[2] / "shared"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs ../shared, which holds real data and is not part of the repository"
)

SMALL = ("model=fcn_small", "model.encoder.width=8", "data.num_workers=0", "data.batch_size=2")
"""Overrides for a net that is built and trained in a moment."""


def untrained(path: Path, *overrides: str) -> Path:
    """Write a checkpoint of a small net that was not trained.

    Args:
        path: path of the checkpoint.
        overrides: overrides that choose the data set and the model.
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


def varied_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of a checkpoint with random scores, so that its net gives several classes."""
    import torch

    torch.manual_seed(0)
    content = torch.load(untrained(folder / "best.ckpt"), weights_only=True)
    for key, value in content["state_dict"].items():
        if ".score." in key:
            value.normal_()
    return content


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the content of a checkpoint, see :func:`varied_checkpoint`."""
    return varied_checkpoint(tmp_path_factory.mktemp("net"))


@pytest.fixture
def checkpoint(content: dict[str, Any], tmp_path: Path) -> Path:
    """Write that checkpoint."""
    import torch

    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """Run a server in place of the hub, for huggingface_hub in this process, with a token."""
    pytest.importorskip("safetensors", reason="needs the extra hub")
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield server


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
