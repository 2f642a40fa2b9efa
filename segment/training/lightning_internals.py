"""Everything that this package takes from Lightning's private members.

``tests/training/test_lightning_internals.py`` fails first when a new version of Lightning changes one of them.
"""

import signal
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment


def requeue_signal(trainer: Any) -> signal.Signals | None:
    """Return the signal by which Slurm announces that a job's time is nearly up; None if it is not to be requeued."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
        return environment.requeue_signal
    return None


def uncount_finished_validation(trainer: Any) -> None:
    """Correct the count of batches of a run that resumes right after a validation.

    Lightning leaves that validation out, but counts its step once more.
    """
    loop = trainer.fit_loop.epoch_loop
    if loop.restarting and not loop.val_loop.restarted_mid_evaluation:
        loop._batches_that_stepped -= loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def between_steps(trainer: Any) -> bool:
    """Return whether no gradients of a batch wait for the optimiser step that they belong to."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
    return batches % trainer.accumulate_grad_batches == 0 or batches == trainer.num_training_batches


def is_last_epoch(trainer: Any) -> bool:
    """Return whether training ends with the epoch that has just ended."""
    loop = trainer.fit_loop
    return (
        trainer.should_stop
        or loop.epoch_progress.current.processed == loop.max_epochs
        or trainer.global_step == loop.max_steps
    )


def finished_batches(loops: dict[str, Any]) -> tuple[int, int]:
    """Return the epochs, and the batches of the epoch after them, that a checkpoint's fit loop has finished."""
    epoch, batch = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    return epoch["current"]["processed"], batch["current"]["completed"]


def settle_counters(loops: dict[str, Any], batches_in_epoch: int, validating: bool) -> None:
    """Set the counters of Lightning's fit loop so that the batches so far are finished, and none is half finished.

    Lightning's own restart knows a dozen intermediate states, some of which skip a validation or run an epoch twice.

    Args:
        loops: state of the fit loop from its ``state_dict``; changed in place.
        batches_in_epoch: number of batches.
        validating: whether the validation after the last batch is still to be run.
    """
    batch, epoch = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    done = batch["current"]["completed"]
    over = done >= batches_in_epoch and not validating
    for counts in (batch["total"], batch["current"]):
        counts.update(dict.fromkeys(counts, counts["completed"]))
    if over:
        batch["current"].update(dict.fromkeys(batch["current"], 0))
    batch["is_last_batch"] = done >= batches_in_epoch and validating
    for counts in epoch.values():
        finished = counts["ready"] - 1 + over
        begun = finished + (done > 0 and not over)
        counts.update(ready=begun, started=begun, processed=finished, completed=finished)
    if validating:  # Lightning takes this for a validation that has to be run again
        for counts in (loops["epoch_loop.val_loop.batch_progress"][key] for key in ("total", "current")):
            counts.update(ready=1, started=1, processed=0, completed=0)


def end_other_processes(trainer: Any) -> None:
    """Kill the processes that this one's Trainer started for DDP: after an error here they would wait for it."""
    kill = getattr(getattr(trainer.strategy, "launcher", None), "kill", None)
    if kill is not None:
        kill(signal.SIGKILL)
