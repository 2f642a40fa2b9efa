"""The launcher of ``segment.train``, named in ``conf/hydra/launcher/segment.yaml``.

Hydra takes launchers from the package ``hydra_plugins`` only.
"""

import functools
from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SegmentLauncher(Launcher):
    """Run the jobs of a sweep in fresh processes.

    Args:
        module: a job runs ``python -m MODULE OVERRIDES``.
        jobs: number of jobs that run at once; "auto" for as many as the GPUs take.
        jobs_per_device: number of jobs that share a GPU.

    Example:
        >>> SegmentLauncher("segment.train").module
        'segment.train'
    """

    def __init__(self, module: str, jobs: int | str = 1, jobs_per_device: int = 1) -> None:
        self.module, self.jobs, self.jobs_per_device = module, jobs, jobs_per_device

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        # Every Hydra application on this machine imports this file, but only a sweep needs those modules.
        from segment.sweeps.launcher import Sweep
        from segment.sweeps.settings import find_limits

        compose = functools.partial(hydra_context.config_loader.load_sweep_config, config)
        self._sweep = Sweep(self.module, config, compose, find_limits(self.jobs, self.jobs_per_device))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self._sweep.launch(job_overrides, initial_job_idx)
