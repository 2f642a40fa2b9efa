"""Sweeps: which jobs there are, where they lie, which of them is still to be done, and what came of them."""

import functools
import hashlib
import json
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
from omegaconf import DictConfig, OmegaConf

from segment.cli.config import quote, run_folder
from segment.errors import SegmentError
from segment.sweeps.process import Status, locked, now, run_job

OF_THE_SWEEP = re.compile(r"[+~]*hydra[./](sweep|sweeper|launcher|mode|run)\b")
"""Words for Hydra that are the sweep's and not its jobs'."""


def digest(words: Sequence[str]) -> str:
    """Eight digits that know a job, or a sweep, by its words in any order."""
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:8]


def folder_name(words: Sequence[str], shown: Sequence[str]) -> str:
    """A folder's name that a person can read and any file system takes: what is ``shown``, and the words' digest."""
    parts = []
    for word in shown:
        key, _, value = word.partition("=")
        key = re.split(r"[./@]", key)[-1]
        part = value if key == "sweep" else f"{key}-{value}"
        parts.append(re.sub(r"[^\w.]+", "-", part, flags=re.ASCII).strip("-."))
    return f"{'_'.join(parts)[:80]}_{digest(words)}".lstrip("_")


def name_of_words(words: Sequence[str]) -> str:
    """A folder's name for a command line, which shows the groups and seeds that it names."""
    return folder_name(words, sorted(word for word in words if "." not in word.partition("=")[0]))


# For conf/train.yaml. A sweep's name is cached, as Hydra does with ${now:}, since in a job the words are the job's.
OmegaConf.register_new_resolver("sweep_name", name_of_words, use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", name_of_words, replace=True)


@dataclass
class Job:
    """A job, known by its overrides: a number would shift with the first value that is added."""

    overrides: list[str]
    swept: str
    folder: Path

    @property
    def mean_iou(self) -> float | None:
        path = self.folder / "metrics.json"
        return json.loads(path.read_text()).get("mIoU") if path.is_file() else None


def jobs_of(batch: Sequence[Sequence[str]], folder: Path) -> list[Job]:
    """The jobs of a sweep and their directories, which may be there from an earlier sweep in the same folder."""
    counts = Counter(word for words in batch for word in set(words))
    seen: Counter[str] = Counter()
    jobs = []
    for words in batch:
        swept = [word for word in words if counts[word] < len(batch)] or list(words)
        known = digest(words)
        seen[known] += 1
        again = f"-{seen[known]}" if seen[known] > 1 else ""  # seed=0,0 asks for the same job twice
        earlier = sorted(folder.glob(f"*{known}{again}"))
        place = earlier[0] if earlier else folder / f"{folder_name(words, swept)}{again}"
        jobs.append(Job(list(words), " ".join(swept), place))
    return jobs


def command(module: str, hydra_config: Any, overrides: Sequence[str], folder: Path) -> list[str]:
    """What starts a job in a process of its own, in ``folder`` and from its last checkpoint if it has one."""
    of_hydra = [word for word in hydra_config.overrides.hydra if not OF_THE_SWEEP.match(word)]
    sources = [s.path for s in hydra_config.runtime.config_sources if s.provider == "command-line"]
    flags = [flag for path in sources for flag in ("--config-dir", path)]
    resume = [] if any(word.startswith("resume=") for word in overrides) else ["resume=auto"]
    where = [f"hydra.run.dir={quote(str(folder))}", "hydra.mode=RUN"]
    name = ["--config-name", hydra_config.job.config_name]
    return [sys.executable, "-m", module, *name, *flags, *overrides, *resume, *of_hydra, *where]


def launch(module: str, config: DictConfig, batch: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Run the jobs that are not done yet one after the other; the launcher's work.

    Raises:
        SystemExit: a job failed, or the sweep was told to stop.
    """
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        sys.exit("error: a sweep under srun would start once in each of its processes: use hydra/launcher=slurm")
    folder = Path(config.hydra.sweep.dir)
    jobs = jobs_of(batch, folder)
    print(f"sweep of {len(jobs)} jobs in {folder}", flush=True)
    kept = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run_all(jobs, lambda job: command(module, config.hydra, job.overrides, job.folder))
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    try:
        report(jobs)
    except SegmentError as error:
        sys.exit(f"error: {error}")
    # The mean IoU is what an optimising sweeper looks at.
    return [JobReturn(job.overrides, status=JobStatus.COMPLETED, _return_value=job.mean_iou) for job in jobs]


def _stop(number: int, _frame: Any) -> None:
    print(
        "\nstopping when the job has saved (once more to kill it); the same command goes on from there", file=sys.stderr
    )
    sys.exit(128 + number)


def run_all(jobs: Sequence[Job], start: Callable[[Job], list[str]]) -> None:
    """Run each job that is not done; those that another sweep is running are waited for at the end."""
    begun, left = now(), list(enumerate(jobs, 1))
    for wait in (False, True):
        busy = []
        for number, job in left:
            job.folder.mkdir(parents=True, exist_ok=True)
            title = f"job {number}/{len(jobs)}  {job.swept}"
            with locked(job.folder, wait) as lock:
                status = Status.read(job.folder)
                if lock is None:
                    print(f"{title}: another process runs it", flush=True)
                    busy.append((number, job))
                elif status and status.state == "done":
                    print(f"{title}: done", flush=True)
                elif status is None or status.state == "running" or str(status.ended) < begun:
                    print(title, flush=True)
                    run_job(start(job), job.folder, job.overrides, lock)
                else:
                    print(f"{title}: failed in another process", flush=True)
        left = busy


def report(jobs: Sequence[Job]) -> None:
    """Print a line for each job.

    Raises:
        SegmentError: a job failed.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table, failed = Table(), []
    for title in ("job", "state", "mIoU", "error"):
        table.add_column(title, overflow="fold")
    for job in jobs:
        status = Status.read(job.folder)
        assert status is not None, "each job that was run has one"
        if status.state != "done":
            failed.append(job)
        figure = "" if job.mean_iou is None else f"{job.mean_iou:.4f}"
        table.add_row(*map(escape, (job.swept, status.state, figure, status.reason)))
    Console().print(table)
    if failed:
        raise SegmentError(
            f"{len(failed)} of {len(jobs)} jobs failed (see {failed[0].folder}/job.log); "
            "the same command runs those again that are not done"
        )


def one_job(module: str, task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """A job of a launcher that is not ours (submitit, joblib) runs in a fresh process too.

    That process has the job's own command line, which Lightning's DDP repeats; on Slurm it finds the step it is in.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        if hydra_config.mode is not RunMode.MULTIRUN:
            return task(config)
        folder, overrides = run_folder(), list(hydra_config.overrides.task)
        start = command(module, hydra_config, overrides, folder)
        status = Status.read(folder)
        if status is None or status.state != "done":
            first = os.environ.get("SLURM_PROCID", "0") == "0"  # of the processes that Slurm starts for this job
            status = run_job(start, folder, overrides, recorded=first)
        if status.state != "done":
            raise SegmentError(f"{folder.name}: {status.reason}")

    return job
