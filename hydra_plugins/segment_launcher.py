"""The launcher of ``segment.train``, where Hydra looks for plugins: ``conf/hydra/launcher/segment.yaml`` names it."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SegmentLauncher(Launcher):
    """Runs a sweep's jobs one after the other, each in a fresh process.

    Args:
        module: what a job is: ``python -m MODULE WORDS``.
    """

    def __init__(self, module: str) -> None:
        self.module = module

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from segment.sweeps.launcher import (
            launch,  # every Hydra application imports this file; only a sweep needs that one
        )

        return launch(self.module, self.config, job_overrides)
