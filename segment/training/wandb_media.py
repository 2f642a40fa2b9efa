"""Pictures, tables and artifacts for wandb's dashboard."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from segment.data.classes import IGNORE, Classes
from segment.display.plots import confusion_matrix
from segment.errors import SegmentError
from segment.evaluation.evaluator import Evaluation
from segment.evaluation.examples import Example, predict_examples, spread_indices
from segment.training.module import SegmentationModule


class WandbMedia(Callback):
    """With ``logger=wandb``, show predictions as overlays, the IoU of each class and the confusion matrix.

    Args:
        count: number of images of the validation split, spread evenly over it.
        every_n_epochs: epochs between two uploads; the last of ``trainer.max_epochs`` is shown in any case.
        artifact: whether the best checkpoint becomes an artifact at the end; offline it is uploaded by ``wandb sync``.

    Raises:
        SegmentError: ``every_n_epochs`` is below 1.

    Example:
        >>> WandbMedia(count=2).every_n_epochs
        1
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1, artifact: bool = False) -> None:
        if every_n_epochs < 1 or count < 0:
            raise SegmentError(
                f"callbacks.wandb: expected every_n_epochs from 1 and count from 0, got {every_n_epochs} and {count}"
            )
        self.count, self.every_n_epochs, self.artifact = count, every_n_epochs, artifact
        self._examples: list[Example] | None = None

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predict while the net has the weights that were validated: averaged weights are taken out afterwards."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or (trainer.current_epoch + 1) % self.every_n_epochs == 0
        self._examples = None
        if not wandb_runs(trainer) or not due or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, SegmentationModule)
        dataset = trainer.val_dataloaders.dataset  # type: ignore[union-attr]  # it is set during fit
        indices = spread_indices(len(dataset), self.count)
        self._examples = predict_examples(pl_module.net, pl_module.inference, dataset, indices)

    @rank_zero_only
    def on_evaluation(self, trainer: Trainer, pl_module: LightningModule, evaluation: Evaluation) -> None:
        """Upload the pictures and the result of a validation; called by :class:`SegmentationModule`."""
        if self._examples is None:
            return
        import wandb  # takes seconds, and only its users need it

        classes = evaluation.classes
        matrix = confusion_matrix(evaluation.confusion, classes.names)
        for run in wandb_runs(trainer):
            run.log(
                {
                    # Each under a key of its own: wandb shows all images of a list in the size of the first one.
                    **{f"predictions/{item.id}": wandb_image(item, classes) for item in self._examples},
                    "per_class_IoU": per_class_table(evaluation),
                    "confusion_matrix": wandb.Image(matrix),
                    "trainer/global_step": trainer.global_step,
                }
            )

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.artifact or not wandb_runs(trainer):
            return
        import wandb

        for saver in trainer.checkpoint_callbacks:
            if not isinstance(saver, ModelCheckpoint) or saver.best_model_score is None:
                continue
            for run in wandb_runs(trainer):
                artifact = wandb.Artifact(f"model-{run.id}", "model", metadata={"mIoU": float(saver.best_model_score)})
                # The file is not copied: it no longer changes, and the copies of a sweep would fill the home folder.
                artifact.add_file(saver.best_model_path, policy="immutable")
                run.log_artifact(artifact, aliases=["best"])


def wandb_runs(trainer: Trainer) -> list[Any]:
    """Return the wandb runs that the trainer logs to."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def wandb_image(item: Example, classes: Classes) -> Any:
    """Return an image with prediction and truth as masks that the dashboard can show and hide."""
    import wandb

    labels = {**dict(enumerate(classes.names)), IGNORE: "void"}
    masks = {
        "prediction": {"mask_data": item.prediction, "class_labels": labels},
        "truth": {"mask_data": item.truth, "class_labels": labels},
    }
    return wandb.Image(item.image, caption=item.id, masks=masks)


def per_class_table(evaluation: Evaluation) -> Any:
    """Return a table of class and IoU; no value for a class that does not occur."""
    import wandb

    rows = [list(row) for row in zip(evaluation.classes.names, evaluation.metrics["per_class_IoU"], strict=True)]
    return wandb.Table(columns=["class", "IoU"], data=rows)
