"""Sweeps and searches: what Hydra's sweepers start, and the table of the results."""

import logging
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from segment.cli.config import end_fast_composition, plain
from segment.display.grid import Grid, screen_table
from segment.errors import SegmentError
from segment.records.job_status import JobRecord
from segment.sweeps.devices import Limits
from segment.sweeps.jobs import Job, job_command, sweep_jobs
from segment.sweeps.queue import JobQueue
from segment.sweeps.settings import check_search, is_search, search_limits


class Sweep:
    """The jobs that one of Hydra's sweepers chooses: all at once, or, in a search, some after it knows earlier scores.

    Args:
        module: command of the jobs, for ``python -m``.
        config: configuration of the sweep.
        compose: returns the configuration of a job from its overrides.
        limits: number of jobs at once, and their devices.

    Raises:
        SegmentError: a setting of the search makes no sense.
    """

    def __init__(
        self, module: str, config: DictConfig, compose: Callable[[list[str]], DictConfig], limits: Limits
    ) -> None:
        if is_search(config.hydra):
            check_search(config.hydra.sweeper)
            limits = search_limits(limits, config.hydra.sweeper.n_jobs)
        for name in ("optuna", "hydra_plugins"):  # they say what this sweep says
            logging.getLogger(name).setLevel(logging.ERROR)
        self._module, self._hydra, self._compose, self._limits = module, config.hydra, compose, limits
        self._trainers: dict[tuple[str, ...], Mapping[str, Any]] = {}
        self._jobs: list[Job] = []

    def launch(self, batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run jobs that are not done yet; after the last one, print the table of all.

        Args:
            batch: overrides of each job.
            first: number of jobs that were launched before.

        Raises:
            SystemExit: a job failed, or the sweep was stopped. In a search, all jobs failed.
        """
        end_fast_composition()  # jobs run for hours, and this process needs its garbage collector
        folder, search = Path(self._hydra.sweep.dir), is_search(self._hydra)
        jobs = sweep_jobs(batch, folder, self._hydra.overrides.task if search else None)
        total = self._hydra.sweeper.n_trials if search else len(jobs)
        if not first:
            print(f"{'search' if search else 'sweep'} of {total} jobs in {folder}", flush=True)
            if search:
                self._compose(jobs[0].overrides)  # a misspelt key fails here, and not in each job
        self._jobs += jobs
        handlers = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            JobQueue(jobs, self._command, self._limits, self._trainer, first, total, again=not search).run()
            if len(self._jobs) >= total:
                print_job_table(self._jobs, search)
                output = shlex.join([str(folder), "--output", str(folder / "report")])
                print(f"next           python -m segment.report {output}")
        except SegmentError as error:
            sys.exit(f"error: {error}")
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return [_result(job) for job in jobs]

    def _command(self, job: Job) -> list[str]:
        return job_command(self._module, self._hydra, job.overrides, job.folder)

    def _trainer(self, job: Job) -> Mapping[str, Any]:
        """Return the configuration of a job's Trainer; it is composed once for jobs that differ in other keys."""
        own = tuple(one for one in job.overrides if re.match(r"\W*(trainer|experiment|sweep)\b", one))
        if own not in self._trainers:
            self._trainers[own] = plain(self._compose([*own]).trainer)
        return self._trainers[own]


def _stop(number: int, _frame: Any) -> None:
    print(
        "\nstopping as soon as the jobs have saved (stop again to kill them); the same command continues the sweep",
        file=sys.stderr,
    )
    sys.exit(128 + number)


def _result(job: Job) -> JobReturn:
    """Return what an optimising sweeper reads."""
    record = job.record
    if record is None or record.state != "done":
        error = SegmentError(record.reason if record else "no job.json")
        return JobReturn(job.overrides, status=JobStatus.FAILED, _return_value=error)
    return JobReturn(job.overrides, status=JobStatus.COMPLETED, _return_value=job.mean_iou)


def print_job_table(jobs: Sequence[Job], search: bool) -> None:
    """Print a line for each job, and in a search the command of the best one.

    Raises:
        SegmentError: a job failed, or in a search all of them.
    """
    from rich.console import Console

    grid, failed = Grid("", ["job", "state", "mIoU", "error"], text=("state", "error")), list[Job]()
    scores: dict[float, JobRecord] = {}
    for job in jobs:
        record = job.record or JobRecord(job.overrides, "failed", error="job.json was deleted or damaged")
        score = job.mean_iou
        if record.state != "done":
            failed.append(job)
        elif score is not None:
            scores.setdefault(score, record)  # of equal ones the first, as in a report
        grid.rows.append([job.swept, record.state, "" if score is None else f"{score:.4f}", record.reason])
    Console().print(screen_table(grid, fold=True))
    if search and scores:
        print(f"best           {scores[max(scores)].command}")
    elif failed:
        again = "delete their folders to run them again" if search else "the same command runs them again"
        raise SegmentError(f"{len(failed)} of {len(jobs)} jobs failed (see {failed[0].folder.job_log}); {again}")
