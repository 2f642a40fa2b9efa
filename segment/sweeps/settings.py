"""Settings of sweeps and searches, checked before the first job starts."""

import os
import re
import sys
from dataclasses import replace
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from segment.cli.config import compose
from segment.cli.overrides import override_key, split_flags
from segment.cli.value_types import as_typed
from segment.errors import SegmentError
from segment.sweeps.devices import Limits, visible_devices

SWEEP_SETTINGS = r"[+~]*(sweep=|hydra[./])"
"""Pattern of the overrides that set how a sweep runs."""


def prepare_sweep() -> None:
    """Check the settings of a sweep that the command line starts, and tell Hydra that it is one.

    Hydra 1.4 does not read from the YAML of ``sweep=`` that several jobs are to run.

    Raises:
        SegmentError: a setting makes no sense, or the sweep would start several times.
    """
    flags, overrides = split_flags(sys.argv[1:])
    settings = [one for one in overrides if re.match(SWEEP_SETTINGS, one)]
    if "hydra.mode=RUN" in settings:
        return
    keys = {override_key(one) for one in settings}
    if old := [key for key in keys if re.match(r"\W*hydra\.sweeper\.search_space\b", key)]:  # Hydra 1.4 has it no more
        raise SegmentError(f"{old[0]}=: expected the ranges in hydra.sweeper.params, or on the command line")
    if several := [one for one in settings if one.startswith("sweep=") and "," in one]:
        raise SegmentError(f"{several[0]}: expected one sweep: start each by a command of its own")
    many = bool({"-m", "--multirun", "hydra.mode=MULTIRUN"}.intersection([*flags, *settings]))
    if keys & {"sweep", "hydra/sweeper"}:
        hydra_config = compose([*flags, *settings], "train").hydra
        if not many and hydra_config.mode is RunMode.MULTIRUN:
            many = True
            sys.argv.append("hydra.mode=MULTIRUN")
        if many and is_search(hydra_config):
            check_search(hydra_config.sweeper)
    if many and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        raise SegmentError("a sweep under srun would start once in each of its processes: use hydra/launcher=slurm")


def is_search(hydra_config: Any) -> bool:
    """Return whether a sweeper chooses the jobs by the scores of earlier ones.

    Args:
        hydra_config: Hydra's own settings.
    """
    return hydra_config.runtime.choices["hydra/sweeper"] != "basic"


def check_search(sweeper: DictConfig) -> None:
    """Check the settings of a search.

    Args:
        sweeper: configuration of optuna's sweeper.

    Raises:
        SegmentError: one of them makes no sense, or the same command would not continue the search.
    """
    given: Any = OmegaConf.to_container(sweeper, resolve=True, enum_to_str=True)
    seed = given["sampler.seed"] = given["sampler"].get("seed")
    expected = {
        "n_trials": (given["n_trials"] >= 1, "a whole number from 1"),
        "n_jobs": (given["n_jobs"] >= 1, "a whole number from 1"),
        "max_failure_rate": (0 <= given["max_failure_rate"] <= 1, "a number from 0 to 1"),
        "direction": (given["direction"] == "maximize", "maximize, as the score of a trial is its mean IoU"),
        "storage": (given["storage"] is None, "null, as a search continues from the folders of its trials"),
        "sampler.seed": (
            seed is not None and 0 <= seed < 2**32,
            f"a whole number from 0 to {2**32 - 1} and a sampler with a seed, so that a restart continues the search",
        ),
    }
    for key, (holds, text) in expected.items():
        if not holds:
            raise SegmentError(f"hydra.sweeper.{key}={as_typed(given[key])}: expected {text}")


def find_limits(jobs: Any, per_device: Any) -> Limits:
    """Return the limits that ``hydra.launcher.jobs`` and ``jobs_per_device`` set on this machine.

    Raises:
        SegmentError: one of them is no such number, or has no effect.
    """
    for key, value in {"jobs": jobs, "jobs_per_device": per_device}.items():
        if (type(value) is not int or value < 1) and (key, value) != ("jobs", "auto"):
            auto = " or auto" * (key == "jobs")
            raise SegmentError(f"hydra.launcher.{key}={value}: expected a whole number from 1{auto}")
    if jobs == 1:
        if per_device > 1:
            raise SegmentError(
                f"hydra.launcher.jobs_per_device={per_device} needs hydra.launcher.jobs=auto or a number"
            )
        return Limits()
    devices = visible_devices()
    if jobs == "auto" and not devices:
        print("note: no GPU is visible, so hydra.launcher.jobs=auto runs one job at a time")
    return Limits(max(1, len(devices) * per_device) if jobs == "auto" else jobs, devices, per_device)


def search_limits(limits: Limits, n_jobs: int) -> Limits:
    """Return the limits of a search, in which no more jobs run at once than are chosen together.

    Args:
        limits: those of the launcher.
        n_jobs: number of trials that the sampler chooses together.
    """
    if n_jobs != limits.jobs:
        print(
            f"note: trials are chosen {n_jobs} at a time (hydra.sweeper.n_jobs), and {limits.jobs} could run at once "
            "(hydra.launcher.jobs): set both to the same number"
        )
    return replace(limits, jobs=min(limits.jobs, n_jobs))
