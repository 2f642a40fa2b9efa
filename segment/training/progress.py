"""What is shown while a run goes on."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from segment.data.classes import Classes
from segment.display.pictures import confusion_matrix
from segment.errors import SegmentError
from segment.evaluation.evaluator import Comparison, pictures, spread
from segment.training.module import SegmentationModule


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


class Throughput(Callback):
    """Logs ``train/images_per_second``, of all processes, with what waiting for the loader takes but no validation.

    (Lightning's ThroughputMonitor counts validation too, under step numbers of its own.)
    """

    def __init__(self) -> None:
        self._images, self._since = 0, 0.0

    def _start(self) -> None:
        self._images, self._since = 0, time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()  # a run that goes on within an epoch does not begin one

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A GPU may be behind, but by a step at most: training_step looks at the loss.
        self._images += len(batch["image"]) * trainer.world_size
        # At the steps that are written down alone: Lightning's log takes half a millisecond or more.
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and trainer.global_step % every == 0:
            pl_module.log("train/images_per_second", self._images / (time.perf_counter() - self._since))
            self._start()


class WandbMedia(Callback):
    """With ``logger=wandb``: predictions as image overlays, IoU per class as a table, the confusion matrix.

    Args:
        count: images of the validation split, spread evenly over it.
        every_n_epochs: how often, and after the last of ``trainer.max_epochs`` in any case.
        artifact: whether the best checkpoint becomes an artifact at the end; offline it goes up with ``wandb sync``.

    Raises:
        SegmentError: ``every_n_epochs`` is below 1.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1, artifact: bool = False) -> None:
        if every_n_epochs < 1:
            raise SegmentError(f"callbacks.wandb.every_n_epochs={every_n_epochs}: expected a number from 1")
        self.count, self.every_n_epochs, self.artifact = count, every_n_epochs, artifact
        self._pictures: list[Comparison] | None = None

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The pictures, made while the net is the one that was validated: averaged weights are taken out after this."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or (trainer.current_epoch + 1) % self.every_n_epochs == 0
        self._pictures = None
        if not runs(trainer) or not due or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, SegmentationModule)
        dataset = trainer.val_dataloaders.dataset  # type: ignore[union-attr]  # it is set during fit
        self._pictures = pictures(pl_module, dataset, spread(len(dataset), self.count))

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._pictures is None:
            return
        import wandb  # seconds, and only for those who use it

        assert isinstance(pl_module, SegmentationModule)
        matrix = confusion_matrix(pl_module.confusion, pl_module.classes.names)
        for run in runs(trainer):
            run.log(
                {
                    # One by one, since wandb shows those of a list in the first one's size.
                    **{f"predictions/{item.id}": wandb_image(item, pl_module.classes) for item in self._pictures},
                    "per_class_IoU": per_class_table(pl_module.classes, pl_module.figures),
                    "confusion_matrix": wandb.Image(matrix),
                    "trainer/global_step": trainer.global_step,
                }
            )

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.artifact or not runs(trainer):
            return
        import wandb

        for saver in trainer.checkpoint_callbacks:
            if not isinstance(saver, ModelCheckpoint) or saver.best_model_score is None:
                continue
            for run in runs(trainer):
                artifact = wandb.Artifact(f"model-{run.id}", "model", metadata={"mIoU": float(saver.best_model_score)})
                # Not copied: it is not written any more, and copies of a sweep's would fill the home folder.
                artifact.add_file(saver.best_model_path, policy="immutable")
                run.log_artifact(artifact, aliases=["best"])


def runs(trainer: Trainer) -> list[Any]:
    """The wandb runs that are logged to."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def wandb_image(item: Comparison, classes: Classes) -> Any:
    """An image with prediction and truth as masks that can be switched on and off in the dashboard."""
    import wandb

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
