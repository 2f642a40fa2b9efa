"""Training: the LightningModule, losses, optimisers, schedules, callbacks, and how a run starts, stops and resumes.

Networks belong to ``models``, and metrics to ``evaluation``.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from segment.training.last_checkpoint import LastCheckpoint as LastCheckpoint
    from segment.training.losses import BorderWeightedCrossEntropy as BorderWeightedCrossEntropy
    from segment.training.losses import CrossEntropy as CrossEntropy
    from segment.training.module import SegmentationModule as SegmentationModule
    from segment.training.optim import constant as constant
    from segment.training.optim import one_cycle as one_cycle
    from segment.training.optim import optimizer_with_groups as optimizer_with_groups
    from segment.training.optim import polynomial as polynomial
    from segment.training.progress import EpochLine as EpochLine
    from segment.training.progress import Throughput as Throughput
    from segment.training.wandb_media import WandbMedia as WandbMedia

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "last_checkpoint": ["LastCheckpoint"],
        "losses": ["BorderWeightedCrossEntropy", "CrossEntropy"],
        "module": ["SegmentationModule"],
        "optim": ["constant", "one_cycle", "optimizer_with_groups", "polynomial"],
        "progress": ["EpochLine", "Throughput"],
        "wandb_media": ["WandbMedia"],
    },
)
