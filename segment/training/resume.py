"""The start of a run: from scratch, from a checkpoint (``resume=``), or with the overrides of a run (``repeat=``)."""

import os
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from segment.cli.config import compose_command, flatten
from segment.cli.overrides import (
    ROUNDING,
    RUN_LENGTH,
    SWEPT_PATHS,
    WITHOUT_EFFECT,
    config_dirs,
    matches_key,
    override_key,
    quote,
    split_flags,
    typed_list,
    typed_path,
)
from segment.cli.resolvers import guarded_resolvers
from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.records.provenance import changed_keys, read_provenance
from segment.records.trust import (
    check_file_names,
    check_loggers,
    check_recorded_overrides,
    check_recorded_yaml,
    check_stranger_config,
    read_trust,
)

FIXED_SETTINGS = (
    r"(sweeper\._target_|callbacks|launcher|job_logging|hydra_logging|job\.env_set|run|output_subdir|sweep|mode)(\..*)?"
)
"""Keys of Hydra's own settings by which a record could run code, or write into another folder."""


@dataclass(eq=False)
class RunStart:
    """The state in which a run begins.

    Attributes:
        folder: folder of the run that begins.
        checkpoint: the checkpoint to resume from; None for a run from scratch.
        record: ``provenance.json`` of the run that wrote the checkpoint; None if there is none.
    """

    folder: RunFolder
    checkpoint: Path | None = None
    record: Mapping[str, Any] | None = None

    @cached_property
    def step(self) -> int:
        """The number of optimiser steps before this start."""
        from segment.records.checkpoint import read_step  # it imports torch, which --help need not wait for

        return read_step(self.checkpoint) if self.checkpoint else 0

    @property
    def in_same_folder(self) -> bool:
        """True if the run continues in the folder of its checkpoint."""
        return self.checkpoint is not None and self.folder.holds(self.checkpoint)

    def is_finished(self, config: Mapping[str, Any]) -> bool:
        """Return whether the run was trained and evaluated, and the configuration does not make it longer."""
        if not self.in_same_folder or self.record is None or not self.folder.metrics.is_file():
            return False
        return not any(matches_key(key, RUN_LENGTH) for key in changed_keys(self.record["config"], config))

    def check_same_run(self, config: Mapping[str, Any]) -> None:
        """Check that a configuration is that of the run whose checkpoint is resumed.

        Raises:
            SegmentError: the configuration differs in a key that changes what the run learns.
        """
        changes = changed_keys(self.record["config"], config) if self.record else {}
        found = [line for key, line in changes.items() if not matches_key(key, RUN_LENGTH, WITHOUT_EFFECT, ROUNDING)]
        if found:
            raise SegmentError(
                f"resume: this would be another run ({'; '.join(found[:5])}{'; ...' if len(found) > 5 else ''}): "
                "keep these values, or start a new run in another folder"
            )


def find_start(resume: str | None, folder: RunFolder) -> RunStart:
    """Find the checkpoint that ``resume=`` names.

    Args:
        resume: a run folder, a checkpoint, "auto" for the last checkpoint in ``folder`` if there is one, or None.
        folder: folder of the run that begins.

    Raises:
        SegmentError: there is no checkpoint at the given path.
    """
    if resume is None:
        return RunStart(folder)
    path = folder.path if resume == "auto" else Path(resume).expanduser()
    checkpoint = RunFolder(path).last_checkpoint if path.is_dir() else path
    if checkpoint.is_file():
        checkpoint = checkpoint.absolute()
        return RunStart(folder, checkpoint, read_provenance(RunFolder.of_checkpoint(checkpoint)))
    if resume == "auto":
        return RunStart(folder)
    raise SegmentError(f"resume={resume}: no checkpoint at {checkpoint}")


def apply_recorded_overrides() -> None:
    """Extend the command line by the overrides of the run that ``resume=RUN`` or ``repeat=RUN`` names.

    ``resume=RUN`` continues in that run's folder, ``repeat=RUN`` begins in a new one. Overrides of the command line
    come after the recorded ones.

    Raises:
        SegmentError: there is no such run.
    """
    keys = {override_key(argument) for argument in sys.argv[1:]}
    for key in ("resume", "repeat"):
        if f"{key}=" in sys.argv[1:]:  # an empty variable of the shell
            raise SegmentError(f"{key} is empty: give {key}=RUN")
        value = typed_path(key)
        if value is None or value == "auto" or (key == "resume" and "hydra.run.dir" in keys):
            continue
        path = Path(value).expanduser()
        if not path.exists():
            raise SegmentError(f"{key}={value}: there is no such file or folder")
        folder = RunFolder(path) if path.is_dir() or key == "repeat" else RunFolder.of_checkpoint(path)
        if key == "resume":
            folder.check_links()  # before Hydra writes into the folder
        record = read_provenance(folder)
        if record is None:
            raise SegmentError(
                f"{key}={value}: expected a run folder{' or a checkpoint in one' * (key == 'resume')}, "
                f"but {folder.provenance} is missing: start a training anew that was stopped before it began"
            )
        check_recorded_overrides([*record["overrides"]], str(folder.path))
        flags, overrides = split_flags(sys.argv[1:])
        given, typed = sys.argv[1:], [*flags, *(one for one in overrides if override_key(one) == "sweep")]
        place = [f"hydra.run.dir={quote(str(folder.path.absolute()))}"] if key == "resume" else []
        if not config_dirs(flags):
            if len(record["config_dirs"]) > 1:
                raise SegmentError(f"{key}={value}: it has several --config-dir, expected one: give --config-dir DIR")
            if gone := [path for path in record["config_dirs"] if not os.path.isdir(path)]:
                raise SegmentError(
                    f"{key}={value}: its --config-dir {gone[0]!r:.100} is no folder: give --config-dir DIR"
                )
            for path in record["config_dirs"]:
                check_recorded_yaml(path, str(folder.path))
            flags = [*flags, *(f"--config-dir={path}" for path in record["config_dirs"])]
        sys.argv[1:] = [*flags, *recorded_overrides(record, keys), *overrides, *place]
        with guarded_resolvers(given, str(folder.path)):
            check_recorded_config(str(folder.path), typed, keys)
    sys.argv += slurm_overrides()


def check_recorded_config(source: str, typed: Sequence[str], keys: Set[str]) -> None:
    """Check the configuration that the overrides and YAML of a record compose, before anything is built.

    Args:
        source: the run folder, for the error message.
        typed: flags and sweep of the user's own; all overrides of Hydra's settings are the user's, too.
        keys: keys of all overrides of the user's own.

    Raises:
        SegmentError: the configuration names a class that is not trusted, or changes Hydra's own settings.
    """
    of_hydra = [one for one in sys.argv[1:] if matches_key(override_key(one).lstrip("+~"), "hydra[./].*")]
    usual = dict(flatten(compose_command([*typed, *of_hydra])[1]))
    config, settings = compose_command(sys.argv[1:])
    swept = settings.get("mode") != "RUN"  # a sweep's jobs have further overrides, which nothing checks
    check_stranger_config(config, source, trust=read_trust(typed_list("trust")))
    check_file_names(config, source)
    check_loggers(config, source, keys)
    for key, value in flatten(settings):
        fixed = (FIXED_SETTINGS, r"sweeper\..*") if swept else (FIXED_SETTINGS,)
        if value != usual.get(key) and matches_key(key, *fixed):
            raise SegmentError(
                f"{source}: refused, it changes hydra.{key:.100}, which is set on the command line alone"
            )


def recorded_overrides(record: Mapping[str, Any], keys: Set[str]) -> list[str]:
    """Return the command line of a recorded run, without the keys that are given anew."""
    overrides = [override for override in record["overrides"] if override_key(override) not in keys]
    if any(override_key(override) == "sweep" for override in overrides):
        overrides.append("hydra.mode=RUN")  # one job of it, not the sweep
    return overrides + moved_paths(record, keys)


def moved_paths(record: Mapping[str, Any], keys: Set[str]) -> list[str]:
    """Return overrides that make the relative paths of a run absolute, if it was started in another folder."""
    started, config = Path(record["directory"]), dict(flatten(record["config"]))
    if started == Path.cwd():
        return []
    values = {key: value for key in SWEPT_PATHS if isinstance(value := config.get(key), str) and key not in keys}
    return [
        f"{key}={quote(str(started / value))}"
        for key, value in values.items()
        if not Path(value).is_absolute() and (started / value).exists()
    ]


def slurm_overrides() -> list[str]:
    """Return overrides that give the processes of ``srun`` one folder, where a job that Slurm requeues continues.

    Their default folders would differ, since each process reads the clock itself.
    """
    tasks, keys = os.environ.get("SLURM_NTASKS", "1"), {override_key(argument) for argument in sys.argv[1:]}
    if tasks == "1" or "SLURM_PROCID" not in os.environ or keys & {"hydra.run.dir", "-m", "--multirun"}:
        return []
    place = f"hydra.run.dir=runs/slurm_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', 0)}"
    return [place] if "resume" in keys else [place, "resume=auto"]
