"""``resume=`` and ``repeat=``: which words, which checkpoint, and whether it is still the same run."""

import os
import sys
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from segment.cli.config import quote, value_of
from segment.errors import SegmentError
from segment.records import provenance

LIMITS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""How long a run is: longer is still the same run."""
MAY_CHANGE = (
    *LIMITS, "resume", "repeat", "checkpoint.", "logger", "callbacks.", "compile", "channels_last",
    "data.root", "data.num_workers", "data.download", "data.url", "data.checksum",
    "trainer.accelerator", "trainer.strategy", "trainer.plugins", "trainer.enable_", "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps", "trainer.fast_dev_run", "trainer.profiler", "trainer.benchmark",
    "trainer.deterministic", "trainer.default_root_dir",
)  # fmt: skip
"""Beginnings of keys that a run may change when it goes on."""
PATHS = ("data.root", "model.weights", "model.encoder.weights")
"""Keys whose values are files or folders, perhaps relative to where a run was started."""
MAY_NOT = ("callbacks.best", "callbacks.ema", "callbacks.early_stopping")
"""Beginnings of keys that it may not, although they are among those."""


def take_words() -> None:
    """``resume=RUN|CHECKPOINT`` goes on in that run's directory with that run's words, ``repeat=RUN`` takes them to a
    new one; words that are given come after them."""
    keys = {word.partition("=")[0] for word in sys.argv[1:]}
    for key in ("resume", "repeat"):
        given = value_of(key)
        if given in {None, "auto"} or (key == "resume" and "hydra.run.dir" in keys):
            continue
        path = Path(str(given)).expanduser()
        if not path.exists():
            raise SegmentError(f"{key}={given}: there is no such file or folder")
        folder = path if path.is_dir() or key == "repeat" else path.parent.parent
        record = provenance.read(folder)
        if record is None:
            raise SegmentError(
                f"{key}={given}: expected a run directory{' or a checkpoint in one' * (key == 'resume')}, "
                f"but {folder / provenance.NAME} is missing"
            )
        words = [f"--config-dir={path}" for path in record["config_dirs"]]
        words += [word for word in record["words"] if word.partition("=")[0] not in keys]
        if any(word.startswith("sweep=") for word in words):
            words.append("hydra.mode=RUN")  # one job of it, not the sweep
        words += moved_paths(record, keys)
        place = [f"hydra.run.dir={quote(str(folder.absolute()))}"] if key == "resume" else []
        sys.argv[1:] = [*words, *sys.argv[1:], *place]
    sys.argv += words_of_slurm()


def words_of_slurm() -> list[str]:
    """One directory for the processes that ``srun`` started, each with a clock of its own; and a job that Slurm puts
    into its queue again goes on there."""
    tasks, keys = os.environ.get("SLURM_NTASKS", "1"), {word.partition("=")[0] for word in sys.argv[1:]}
    if tasks == "1" or "SLURM_PROCID" not in os.environ or keys & {"hydra.run.dir", "-m", "--multirun"}:
        return []
    place = f"hydra.run.dir=runs/slurm_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', 0)}"
    return [place] if "resume" in keys else [place, "resume=auto"]


def moved_paths(record: Mapping[str, Any], keys: Set[str]) -> list[str]:
    """Words for the files that a run found beside the folder it was started in, which is not this one."""
    started = Path(record["directory"])
    words = []
    for key in PATHS if started != Path.cwd() else ():
        value: Any = record["config"]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str) and key not in keys and (started / value).exists() and not Path(value).is_absolute():
            words.append(f"{key}={quote(str(started / value))}")
    return words


def checkpoint_to_resume(resume: str | None, folder: Path) -> Path | None:
    """The checkpoint that ``resume=`` means; None to start fresh.

    Raises:
        SegmentError: a path was given and there is none.
    """
    if resume is None:
        return None
    path = folder if resume == "auto" else Path(resume).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if path.is_file():
        return path.absolute()
    if resume == "auto":
        return None
    raise SegmentError(f"resume={resume}: no checkpoint at {path}")


def is_own(checkpoint: Path, folder: Path) -> bool:
    """Whether a checkpoint is of the run in a folder, and not of one that goes on in another place."""
    return checkpoint.resolve().parent.parent == folder.resolve()


def check_same_run(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A run that goes on has to be the one that it was.

    Raises:
        SegmentError: the configuration differs in what would make it another.
    """
    found = _of_another_run(then, now)
    if found:
        raise SegmentError(
            f"resume: this would be another run ({'; '.join(found[:5])}{'; ...' if len(found) > 5 else ''}): "
            "leave these as they were, or start it in a directory of its own"
        )


def _of_another_run(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [c for c in provenance.changes(then, now) if not c.startswith(MAY_CHANGE) or c.startswith(MAY_NOT)]


def same_length(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two configurations train for equally long."""
    return not any(change.startswith(LIMITS) for change in provenance.changes(then, now))
