"""Runs that several tests compare with, each trained once."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import EARLY, HARD, LONGER, Runs, outcome


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the runs that are kept."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def uninterrupted(main: Callable[..., Path], kept: Path) -> dict[str, Any]:
    """Return the outcome of a run with the overrides HARD."""
    folder = kept / "hard"
    if not folder.exists():
        main("train", *HARD, f"hydra.run.dir={folder}")
    return outcome(folder)


@pytest.fixture
def trained(main: Callable[..., Path], kept: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run with the overrides EARLY."""
    folder = kept / "trained"
    if not folder.exists():
        main("train", *EARLY, f"hydra.run.dir={folder}")
    return Path(shutil.copytree(folder, tmp_path / "trained"))


@pytest.fixture(scope="session")
def runs(kept: Path) -> Iterator[Runs]:
    """Yield the server that starts trainings in processes of their own."""
    server = Runs(kept)
    yield server
    server.server.communicate()


@pytest.fixture(scope="session")
def longer(runs: Runs, kept: Path) -> tuple[dict[str, Any], float]:
    """Return the outcome of a run with the overrides LONGER, and the seconds that it takes."""
    started = time.monotonic()
    runs.start(kept / "longer", *LONGER)
    assert runs.end() == 0, runs.log(kept / "longer")
    return outcome(kept / "longer"), time.monotonic() - started
