"""Sweeps: the folder of each job, the jobs one after the other, and the table of their results."""

import functools
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig

from segment.cli.config import output_folder
from segment.cli.overrides import override_key, quote
from segment.display.grid import Grid, screen_table
from segment.errors import SegmentError
from segment.files import printable
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord, utc_now
from segment.records.metrics_json import read_metrics
from segment.sweeps.folder_names import folder_name, overrides_hash
from segment.sweeps.process import job_lock, run_job

SWEEP_ONLY = re.compile(r"[+~]*hydra[./](sweep|sweeper|launcher|mode|run)\b")
"""Pattern of Hydra's own overrides that concern the sweep and not its jobs."""


@dataclass
class Job:
    """A job of a sweep. Its overrides identify it: a number would change when the sweep gets another value.

    Attributes:
        overrides: overrides of the job's command line.
        swept: the overrides that differ between the jobs, as one string.
        folder: folder in which the job runs.
    """

    overrides: list[str]
    swept: str
    folder: RunFolder

    @property
    def mean_iou(self) -> float | None:
        """The mIoU of the job; None while it has no metrics, or damaged ones."""
        try:
            return read_metrics(self.folder.metrics)["mIoU"]
        except SegmentError:
            return None

    @property
    def record(self) -> JobRecord | None:
        """The job's state; None before it began, or if its record is damaged: then the job runs again."""
        try:
            return JobRecord.read(self.folder.job_status)
        except SegmentError as error:
            print(f"note: {printable(str(error))}")
            return None


def sweep_jobs(batch: Sequence[Sequence[str]], folder: Path) -> list[Job]:
    """Return the jobs of a sweep; a job that an earlier sweep ran in the same place keeps its folder.

    Args:
        batch: the overrides of each job.
        folder: folder of the sweep.
    """
    counts = Counter(override for overrides in batch for override in set(overrides))
    seen: Counter[str] = Counter()
    jobs = []
    for overrides in batch:
        swept = [override for override in overrides if counts[override] < len(batch)] or list(overrides)
        name = overrides_hash(overrides)
        seen[name] += 1
        again = f"-{seen[name]}" if seen[name] > 1 else ""  # seed=0,0 has the same job twice
        earlier = sorted(folder.glob(f"*{name}{again}"))
        place = earlier[0] if earlier else folder / f"{folder_name(overrides, swept)}{again}"
        jobs.append(Job(list(overrides), " ".join(swept), RunFolder(place)))
    return jobs


def job_command(module: str, hydra_config: Any, overrides: Sequence[str], folder: RunFolder) -> list[str]:
    """Return the command that starts a job in its folder; the job resumes from its last checkpoint if it has one."""
    of_hydra = [override for override in hydra_config.overrides.hydra if not SWEEP_ONLY.match(override)]
    sources = [s.path for s in hydra_config.runtime.config_sources if s.provider == "command-line"]
    flags = [flag for path in sources for flag in ("--config-dir", path)]
    resume = [] if any(override_key(one) == "resume" for one in overrides) else ["resume=auto"]
    where = [f"hydra.run.dir={quote(str(folder.path))}", "hydra.mode=RUN"]
    name = ["--config-name", hydra_config.job.config_name]
    return [sys.executable, "-m", module, *name, *flags, *overrides, *resume, *of_hydra, *where]


def launch(module: str, config: DictConfig, batch: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Run the jobs of a sweep that are not done yet, one after the other; called by Hydra's launcher.

    Raises:
        SystemExit: a job failed, or the sweep was stopped.
    """
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        sys.exit("error: a sweep under srun would start once in each of its processes: use hydra/launcher=slurm")
    folder = Path(config.hydra.sweep.dir)
    jobs = sweep_jobs(batch, folder)
    print(f"sweep of {len(jobs)} jobs in {folder}", flush=True)
    handlers = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run_jobs(jobs, lambda job: job_command(module, config.hydra, job.overrides, job.folder))
        print_job_table(jobs)
    except SegmentError as error:
        sys.exit(f"error: {error}")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    # An optimising sweeper reads the return value.
    return [JobReturn(job.overrides, status=JobStatus.COMPLETED, _return_value=job.mean_iou) for job in jobs]


def _stop(number: int, _frame: Any) -> None:
    print(
        "\nstopping as soon as the job has saved (stop again to kill it); the same command continues the sweep",
        file=sys.stderr,
    )
    sys.exit(128 + number)


def run_jobs(jobs: Sequence[Job], start: Callable[[Job], list[str]]) -> None:
    """Run each job that is not done; at the end, wait for those that another process runs.

    A job that fails does not stop the others.

    Args:
        jobs: jobs of the sweep.
        start: returns the command of a job.
    """
    begun, left = utc_now(), list(enumerate(jobs, 1))
    for wait in (False, True):
        busy = []
        for number, job in left:
            job.folder.path.mkdir(parents=True, exist_ok=True)
            title = f"job {number}/{len(jobs)}  {job.swept}"
            with job_lock(job.folder, wait) as lock:
                record = job.record
                if lock is None:
                    print(f"{title}: another process runs it", flush=True)
                    busy.append((number, job))
                elif record and record.state == "done":
                    print(f"{title}: done", flush=True)
                elif record is None or record.state == "running" or str(record.ended) < begun:
                    print(title, flush=True)
                    run_job(start(job), job.folder, job.overrides, lock)
                else:
                    print(f"{title}: failed in another process", flush=True)
        left = busy


def print_job_table(jobs: Sequence[Job]) -> None:
    """Print a line for each job.

    Raises:
        SegmentError: a job failed.
    """
    from rich.console import Console

    grid, failed = Grid("", ["job", "state", "mIoU", "error"], text=("state", "error")), []
    for job in jobs:
        record = job.record
        assert record is not None, "run_jobs writes one for each job"
        if record.state != "done":
            failed.append(job)
        mean_iou = "" if job.mean_iou is None else f"{job.mean_iou:.4f}"
        grid.rows.append([job.swept, record.state, mean_iou, record.reason])
    Console().print(screen_table(grid, fold=True))
    if failed:
        raise SegmentError(
            f"{len(failed)} of {len(jobs)} jobs failed (see {failed[0].folder.job_log}); "
            "the same command runs them again"
        )


def one_job(module: str, task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Return a task that runs each job of another launcher (submitit, joblib) in a fresh process, too.

    The process has the job's own command line, which Lightning's DDP repeats. On Slurm it is part of the job's step.

    Args:
        module: module of the command, for ``python -m``.
        task: runs a single run in this process.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        if hydra_config.mode is not RunMode.MULTIRUN:
            return task(config)
        folder, overrides = RunFolder(output_folder()), list(hydra_config.overrides.task)
        start = job_command(module, hydra_config, overrides, folder)
        record = Job(overrides, "", folder).record
        if record is None or record.state != "done":
            first = os.environ.get("SLURM_PROCID", "0") == "0"  # of the processes in the step
            record = run_job(start, folder, overrides, recorded=first)
        if record.state != "done":
            raise SegmentError(f"{folder.path.name}: {record.reason}")

    return job
