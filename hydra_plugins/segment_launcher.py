"""The launcher of ``segment.train``; ``conf/hydra/launcher/segment.yaml`` names it.

It lies here because Hydra takes launchers from the package ``hydra_plugins`` alone.
"""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SegmentLauncher(Launcher):
    """Run a sweep's jobs one after the other, each in a fresh process.

    Args:
        module: of the command that a job runs: ``python -m MODULE OVERRIDES``.
    """

    def __init__(self, module: str) -> None:
        self.module = module

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        # Every Hydra application imports this file; only a sweep needs that one.
        from segment.sweeps.launcher import launch

        return launch(self.module, self.config, job_overrides)
