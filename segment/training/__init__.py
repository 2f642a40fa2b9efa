"""Training: the LightningModule, losses, optimisers, schedules, callbacks, and how a run starts, stops and resumes.

Networks belong to ``models``, and metrics to ``evaluation``.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.training.hopeless import StopHopeless
    from segment.training.loss_sum import LossSum
    from segment.training.losses import BorderWeightedCrossEntropy, CrossEntropy, FocalLoss, OhemCrossEntropy
    from segment.training.module import SegmentationModule
    from segment.training.optim import constant, one_cycle, optimizer_with_groups, polynomial
    from segment.training.overlap_losses import DiceLoss, LovaszLoss, TverskyLoss
    from segment.training.progress import EpochLine, Throughput
    from segment.training.wandb_media import WandbMedia

__getattr__, __dir__, __all__ = public_names(__name__)
