"""All uses of Lightning's private members and of the state of its loops.

``tests/training/test_lightning_internals.py`` fails first when a new version of Lightning changes one of them.
"""

import signal
from collections.abc import Callable
from subprocess import Popen
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies.launchers import subprocess_script


def requeue_signal(trainer: Any) -> signal.Signals | None:
    """Return the signal by which Slurm announces the end of a job's time; None if the job is not to be requeued."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
        return environment.requeue_signal
    return None


def uncount_finished_validation(trainer: Any) -> None:
    """Correct the count of steps of a run that resumes right after a validation.

    Lightning does not repeat that validation, but counts its step a second time.
    """
    loop = trainer.fit_loop.epoch_loop
    if loop.restarting and not loop.val_loop.restarted_mid_evaluation:
        loop._batches_that_stepped -= loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def uncount_begun_validation(trainer: Any) -> None:
    """Correct the count of images of a run that repeats a validation: Lightning counts the begun one twice."""
    trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()


def between_steps(trainer: Any) -> bool:
    """Return whether the gradients of all batches so far have been used by an optimiser step."""
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
    """Return the number of finished epochs, and of finished batches in the next one, of a checkpoint's fit loop."""
    epoch, batch = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    return epoch["current"]["processed"], batch["current"]["completed"]


def settle_counters(loops: dict[str, Any], batches_in_epoch: int, validating: bool) -> None:
    """Reset the counters of Lightning's fit loop to the state between two steps.

    Lightning saves a dozen intermediate states. From some of them it skips a validation or repeats an epoch.

    Args:
        loops: state of the fit loop from its ``state_dict``; changed in place.
        batches_in_epoch: number of batches in an epoch.
        validating: whether the validation after the last finished batch is still to be run.
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
    if validating:  # with these counters Lightning runs the validation again
        counts = loops["epoch_loop.val_loop.batch_progress"]
        before = counts["total"]["completed"] - counts["current"]["completed"]
        for key, finished in (("total", before), ("current", 0)):
            counts[key].update(ready=finished + 1, started=finished + 1, processed=finished, completed=finished)


def end_other_processes(trainer: Any) -> None:
    """Kill the processes that the Trainer started for DDP: after an error in this one they would wait for it."""
    kill = getattr(getattr(trainer.strategy, "launcher", None), "kill", None)
    if kill is not None:
        kill(signal.SIGKILL)


def observe_started_processes(observe: Callable[[list[Popen]], None]) -> None:
    """Call a function with the processes that a Trainer starts for DDP, in place of Lightning's own observer.

    That one kills this process without a word when one of them has failed.
    """
    subprocess_script._launch_process_observer = observe  # type: ignore[assignment]  # named otherwise
