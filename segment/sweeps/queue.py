"""Running the jobs of a sweep, one or several at once."""

import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from segment.data.workers import cores
from segment.files import printable
from segment.records.job_status import JobRecord, utc_now
from segment.sweeps.devices import Limits, devices_needed, hold_devices, processes_of
from segment.sweeps.jobs import Job
from segment.sweeps.process import JobProcess, job_lock, stop_jobs

POLL = 0.1
"""Seconds between two looks at the jobs."""


@dataclass
class Running:
    """A job that runs, its row on the screen, and what is released when it ends."""

    title: str
    process: JobProcess
    row: Any
    held: ExitStack


class JobQueue:
    """Run each job of a sweep that is not done; a job that fails does not stop the others.

    At the end, jobs that another process runs are waited for.

    Args:
        jobs: jobs of the sweep.
        command: returns the command of a job.
        limits: number of jobs at once, and their devices.
        trainer: returns the configuration of a job's Trainer.
        first: number of jobs of the sweep that were run before.
        total: number of all jobs of the sweep; by default those of the queue.
        again: whether jobs that failed earlier run again.

    Example:
        >>> JobQueue([], list, Limits(), dict).run()
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        command: Callable[[Job], list[str]],
        limits: Limits,
        trainer: Callable[[Job], Mapping[str, Any]],
        first: int = 0,
        total: int | None = None,
        again: bool = True,
    ) -> None:
        total = total or len(jobs)
        self._waiting = {f"job {number}/{total}  {job.swept}": job for number, job in enumerate(jobs, first + 1)}
        self._command, self._limits, self._trainer, self._again = command, limits, trainer, again
        self._running: list[Running] = []
        self._said: set[str] = set()
        self._begun = utc_now()
        self._screen = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(),
            transient=True,
            disable=limits.one_by_one or not sys.stdout.isatty(),  # the output of a job has a bar of its own
        )
        self._bar = self._screen.add_task("jobs", total=total, completed=first)

    def run(self) -> None:
        """Run the jobs; an exception from a signal handler stops those that run."""
        with self._screen:
            try:
                while self._waiting or self._running:
                    for one in [one for one in self._running if one.process.process.poll() is not None]:
                        self._finish(one)
                    if len(self._running) >= self._limits.jobs or not self._start_next():
                        time.sleep(POLL)
            finally:
                stop_jobs([one.process for one in self._running])  # none, unless an exception ended the loop
                for one in self._running:
                    one.held.close()

    def _start_next(self) -> bool:
        """Start the next job that no other process runs, or say that it needs no start; False if there is none yet."""
        for title, job in self._waiting.items():
            job.folder.path.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                lock = held.enter_context(job_lock(job.folder))
                if lock is None:
                    self._say_once(f"{title}: another process runs it")
                    continue
                state = self._known_state(job)
                if state:
                    self._say(f"{title}: {state}")
                    self._screen.advance(self._bar)
                elif not self._start(title, job, lock, held):
                    return False  # no job overtakes one that waits for several devices
                del self._waiting[title]
                return True
        return False

    def _known_state(self, job: Job) -> str:
        """Return the state of a job that need not run; empty for others."""
        record = job.record
        if record is None or record.state == "running":
            return ""
        if record.state == "failed" and str(record.ended) >= self._begun:
            return "failed in another process"
        return _outcome(record) if record.is_settled(self._again) else ""

    def _start(self, title: str, job: Job, lock: int, held: ExitStack) -> bool:
        """Start a job, which holds its locks until it has ended; False if its devices are not free."""
        limits, locks, environment, place = self._limits, [lock], {}, ""
        if not limits.one_by_one:
            number = devices_needed(self._trainer(job), len(limits.devices))
            threads = str(thread_count(limits, self._trainer(job), number))
            environment = {"MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": threads}
            found = held.enter_context(hold_devices(limits.devices, number, limits.per_device))
            if found is None:
                if not self._running:
                    self._say_once(f"{title}: waits for devices that another sweep uses")
                return False
            if found[0]:
                place = f"  on {','.join(found[0])}"
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(found[0])
                locks += found[1]
        if limits.one_by_one:
            self._say(title)
        process = JobProcess(
            self._command(job),
            job.folder,
            job.overrides,
            locks=locks,
            environment=environment,
            shown=limits.one_by_one,
        )
        row = self._screen.add_task(f"{title}{place}", total=None)
        self._running.append(Running(title, process, row, held.pop_all()))
        return True

    def _finish(self, one: Running) -> None:
        record = one.process.end()
        self._running.remove(one)
        one.held.close()
        self._screen.remove_task(one.row)
        self._screen.advance(self._bar)
        if not self._limits.one_by_one:
            self._say(f"{one.title}: {_outcome(record)}")

    def _say(self, line: str) -> None:
        print(line, flush=True)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def thread_count(limits: Limits, trainer: Mapping[str, Any], gpus: int) -> int:
    """Return the number of threads of each process of a job: its share of the cores.

    Args:
        limits: number of jobs at once, and their devices.
        trainer: the job's configuration of the Trainer.
        gpus: number of GPUs that the job takes.
    """
    return max(1, cores() // (limits.at_once(gpus) * processes_of(trainer, gpus)))


def _outcome(record: JobRecord) -> str:
    return record.state if record.state == "done" else f"failed: {printable(record.reason)}"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])
