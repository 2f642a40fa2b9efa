"""Progress of a training: a line after each validation, and the throughput."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only


class EpochLine(Callback):
    """Print a line after each validation, which stays on the screen and in a job's log.

    Example:
        >>> callbacks = [EpochLine()]  # for lightning.Trainer(callbacks=callbacks)
    """

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        metrics = trainer.callback_metrics
        loss = float(metrics["train/loss"]) if "train/loss" in metrics else float("nan")
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""  # a run may end by steps instead
        print(
            f"epoch {trainer.current_epoch + 1}{last}  step {trainer.global_step}  "
            f"loss {loss:.4g}  mIoU {float(metrics['val/mIoU']):.4f}",
            flush=True,
        )


class EpochBar(RichProgressBar):
    """Show Lightning's progress bar with epochs from 1, as the printed lines count, and without a logger's version.

    Lightning reads what the bar shows from the device at each step, which waits until a GPU is idle. This bar reads
    the loss when it is drawn.

    Example:
        >>> callbacks = [EpochBar(refresh_rate=4)]  # for lightning.Trainer(callbacks=callbacks)
    """

    _shown: dict[str, Any] = {}
    _until = 0.0

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Any:
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + 1 / max(1, self.refresh_rate)
            values = super().get_metrics(trainer, pl_module)
            loss = trainer.callback_metrics.get("train/loss")
            self._shown = {key: value for key, value in values.items() if key != "v_num"}
            if loss is not None:
                self._shown = {"train/loss": float(loss), **self._shown}
        return self._shown

    def _get_train_description(self, current_epoch: int) -> str:
        last = f"/{self.trainer.max_epochs}" if (self.trainer.max_epochs or -1) > 0 else ""
        return f"Epoch {current_epoch + 1}{last}".ljust(len(self.validation_description))


class Throughput(Callback):
    """Log ``train/images_per_second`` of all processes. Waiting for the loader counts, validation does not.

    Lightning's ThroughputMonitor also counts validation, and logs with step numbers of its own.

    Example:
        >>> callbacks = [Throughput()]  # for lightning.Trainer(callbacks=callbacks)
    """

    def __init__(self) -> None:
        self._images, self._since = 0, 0.0

    def _start(self) -> None:
        self._images, self._since = 0, time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()  # for a run that resumes within an epoch, where on_train_epoch_start is not called

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A GPU is some steps behind, as many at each logging step.
        self._images += len(batch["image"]) * trainer.world_size
        # Only at logging steps, since Lightning's log takes half a millisecond or more.
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and trainer.global_step % every == 0:
            pl_module.log("train/images_per_second", self._images / (time.perf_counter() - self._since))
            self._start()
