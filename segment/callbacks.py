"""What is shown while a run goes on."""

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from segment.module import SegmentationModule
from segment.results import pictures


class EpochLine(Callback):
    """A line after each validation, which stays on the screen and in a job's log."""

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        figures = trainer.callback_metrics
        loss = figures.get("train/loss")
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  step {trainer.global_step}  "
            f"loss {float(loss) if loss is not None else float('nan'):.4g}  mIoU {float(figures['val/mIoU']):.4f}",
            flush=True,
        )
