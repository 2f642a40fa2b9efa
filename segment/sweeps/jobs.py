"""The jobs of a sweep: their folders, and the commands that start them."""

import re
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segment.cli.overrides import override_key, quote
from segment.errors import SegmentError
from segment.files import printable
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.records.metrics_json import read_metrics
from segment.sweeps.folder_names import folder_name, overrides_hash

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


def sweep_jobs(batch: Sequence[Sequence[str]], folder: Path, fixed: Collection[str] | None = None) -> list[Job]:
    """Return the jobs of a sweep; a job that an earlier sweep ran in the same place keeps its folder.

    Args:
        batch: the overrides of each job.
        folder: folder of the sweep.
        fixed: overrides that all jobs have; by default those that all jobs of the batch have.
    """
    counts = Counter(override for overrides in batch for override in set(overrides))
    same = {override for override, count in counts.items() if count == len(batch)} if fixed is None else fixed
    seen: Counter[str] = Counter()
    jobs = []
    for overrides in batch:
        swept = [override for override in overrides if override not in same] or list(overrides)
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
