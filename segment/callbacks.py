"""What is shown while a run goes on."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from segment.data.classes import Classes
from segment.module import SegmentationModule
from segment.results import Comparison, pictures, spread


class EpochLine(Callback):
    """A line after each validation, which stays on the screen and in a job's log."""

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        figures = trainer.callback_metrics
        loss = float(figures["train/loss"]) if "train/loss" in figures else float("nan")
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""  # a run may end after steps instead
        print(
            f"epoch {trainer.current_epoch + 1}{of}  step {trainer.global_step}  "
            f"loss {loss:.4g}  mIoU {float(figures['val/mIoU']):.4f}",
            flush=True,
        )


class WandbPictures(Callback):
    """With ``logger=wandb``: predictions as image overlays and IoU per class as a table.

    Args:
        count: images of the validation split, spread evenly over it.
        every_n_epochs: how often; the last epoch in any case.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1) -> None:
        self.count, self.every_n_epochs = count, every_n_epochs

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not loggers or not due or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, SegmentationModule)
        dataset = trainer.val_dataloaders.dataset  # type: ignore[union-attr]  # it is set during fit
        items = pictures(pl_module, dataset, spread(len(dataset), self.count))
        for logger in loggers:
            logger.experiment.log(
                {
                    "predictions": [wandb_image(item, pl_module.classes) for item in items],
                    "per_class_IoU": per_class_table(pl_module.classes, pl_module.figures),
                    "trainer/global_step": trainer.global_step,
                }
            )


def wandb_image(item: Comparison, classes: Classes) -> Any:
    """An image with prediction and truth as masks that can be switched on and off in the dashboard."""
    import wandb  # seconds, and only for those who use it

    labels = {**dict(enumerate(classes.names)), 255: "void"}
    masks = {
        "prediction": {"mask_data": item.prediction, "class_labels": labels},
        "truth": {"mask_data": item.truth, "class_labels": labels},
    }
    return wandb.Image(item.image, caption=item.id, masks=masks)


def per_class_table(classes: Classes, figures: dict[str, Any]) -> Any:
    """Class and IoU, a row each; no value where the class does not occur."""
    import wandb

    rows = [list(row) for row in zip(classes.names, figures["per_class_IoU"], strict=True)]
    return wandb.Table(columns=["class", "IoU"], data=rows)
