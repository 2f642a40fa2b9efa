"""The launcher of ``segment.train``, named in ``conf/hydra/launcher/segment.yaml``.

Hydra takes launchers from the package ``hydra_plugins`` only.
"""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SegmentLauncher(Launcher):
    """Run the jobs of a sweep one after the other, each in a fresh process.

    Args:
        module: a job runs ``python -m MODULE OVERRIDES``.

    Example:
        >>> SegmentLauncher("segment.train").module
        'segment.train'
    """

    def __init__(self, module: str) -> None:
        self.module = module

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        # Every Hydra application on this machine imports this file, but only a sweep needs that module.
        from segment.sweeps.launcher import launch

        return launch(self.module, self.config, job_overrides)
