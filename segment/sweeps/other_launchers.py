"""The jobs of other launchers than ours: submitit, joblib."""

import functools
import os
from collections.abc import Callable

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import segment.sweeps.folder_names  # noqa: F401  # registers the resolver of hydra.sweep.subdir
from segment.cli.run_folder import output_folder
from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.sweeps.settings import is_search


def in_fresh_process(module: str, task: Callable[[DictConfig], None]) -> Callable[[DictConfig], float | None]:
    """Return a task that runs each job of another launcher (submitit, joblib) in a fresh process, too.

    The process has the job's own command line, which Lightning's DDP repeats. On Slurm it is part of the job's step.
    The task returns the mIoU of the job, which an optimising sweeper reads.

    Args:
        module: module of the command, for ``python -m``.
        task: runs a single run in this process.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        if hydra_config.mode is not RunMode.MULTIRUN:
            task(config)
            return None
        from segment.sweeps.jobs import Job, job_command  # here and not above: a single run need not wait for them
        from segment.sweeps.process import run_job

        folder, overrides = RunFolder(output_folder()), list(hydra_config.overrides.task)
        start = job_command(module, hydra_config, overrides, folder)
        record = Job(overrides, "", folder).record
        if record is None or not record.is_settled(again=not is_search(hydra_config)):
            first = os.environ.get("SLURM_PROCID", "0") == "0"  # of the processes in the step
            record = run_job(start, folder, overrides, recorded=first)
        if record.state != "done":
            raise SegmentError(f"{folder.path.name}: {record.reason}")
        return Job(overrides, "", folder).mean_iou

    return job
