"""Train a network: ``python -m segment.train model=fcn16s data=voc data.root=DIR``."""

import errno
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from segment import provenance
from segment.arguments import check_seed, check_value
from segment.config import entry_point, instantiate, plain, quiet, run_folder
from segment.errors import SegmentError, end_other_processes
from segment.files import shown, whole_file
from segment.resume import check_same_run, checkpoint_to_resume, is_own, same_length, take_words
from segment.sweep import one_job

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PROGRESS_RATE = 4
"""How often a second the bar is drawn, at 2 to 5 ms. Lightning would do so with each step, up to a hundred times."""


def train(config: DictConfig) -> None:
    """Fit, then evaluate the best checkpoint and write down what came of it."""
    import lightning as L  # here and not above, so that --help and --cfg need not wait for torch
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from segment.checkpoint import steps_of

    quiet()
    folder = run_folder()
    start = checkpoint_to_resume(config.resume, folder)
    earlier = provenance.read(start.parent.parent) if start else None
    if start and earlier:
        check_same_run(earlier["config"], plain(config))
        measured = is_own(start, folder) and (folder / "metrics.json").is_file()
        if measured and same_length(earlier["config"], plain(config)):
            print(f"finished: {shown(folder)} is trained, and its figures are in metrics.json")
            return
    check_seed(config.seed)
    if isinstance(config.checkpoint, str):
        raise SegmentError(
            f"checkpoint={config.checkpoint}: resume=RUN goes on with a run, model.weights=CHECKPOINT starts from a net"
        )
    for key, kind in {"compile": bool, "channels_last": bool, "checkpoint.every_n_steps": int | None}.items():
        check_value(key, OmegaConf.select(config, key), kind)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data)
    data.prepare_data()
    data.setup("fit")  # a fault of the data set shows before the net is built
    module = make_module(config, data)
    loggers: list = []
    trainer: Any = None
    failed = 1
    try:
        steps = steps_of(start) if start else 0
        loggers += make_loggers(config, folder, steps, earlier)
        trainer = make_trainer(config, folder, loggers, start, earlier)
        trainer.fit(module, data, ckpt_path=start)
        if start and not is_own(start, folder) and trainer.global_step == steps:
            raise SegmentError(f"resume={config.resume} was trained to its end: segment.evaluate takes its checkpoint")
        if not trainer.fast_dev_run:
            conclude(trainer, module, data, folder)
        elif trainer.is_global_zero:
            print("fast_dev_run is through: one batch trained and evaluated, nothing kept")
        failed = 0
    except SIGTERMException:  # a SystemExit without a code, which would pass for success
        # Of DDP's other processes a code would look like a crash, for which Lightning kills this one.
        sys.exit(128 + signal.SIGTERM if trainer.is_global_zero else 0)
    except SystemExit as end:
        if end.code:
            raise
        raise SegmentError("something ended this run with sys.exit before it was through: it has no figures") from end
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SegmentError(
            f"cannot write {error.filename or folder} ({error.strerror}); files that were there are as they were: "
            f"make room, and go on with resume={shown(folder)}"
        ) from None
    finally:
        if failed and trainer is not None:
            end_other_processes(trainer)
        for logger in loggers[1:]:
            if hasattr(logger.experiment, "finish"):  # wandb's next run would go on in this one
                logger.experiment.finish(exit_code=failed)


def make_module(config: DictConfig, data: Any) -> Any:
    """The net with all that training it takes."""
    import torch

    from segment.checkpoint import make_card
    from segment.module import SegmentationModule

    net = instantiate(config.model, num_classes=len(data.classes))
    if not config.channels_last:
        net.to(memory_format=torch.contiguous_format)
    if config.compile:
        net.compile()
    return SegmentationModule(
        net,
        data.classes,
        instantiate(config.loss),
        instantiate(config.optimizer),
        instantiate(config.scheduler),
        # What pixels the encoder wants may be timm's to say, and timm's next version may say otherwise.
        make_card(
            {**plain(config.model), "normalization": net.normalization},
            {**plain(config.data), **data.location()},
            data.classes,
            data.training_marks(),
        ),
        seed=config.seed,
    )


def make_trainer(
    config: DictConfig, folder: Path, loggers: list, start: Path | None, earlier: dict[str, Any] | None
) -> Any:
    """Lightning's Trainer with what makes a run that can go on.

    Raises:
        SegmentError: it has other processes than the run had that goes on, or can't do what is asked of it.
    """
    from lightning.pytorch.callbacks import (
        LambdaCallback,
        ModelCheckpoint,
        ProgressBar,
        RichProgressBar,
        WeightAveraging,
    )

    from segment.checkpoint import WholeCheckpoints
    from segment.saving import LastCheckpoint

    begin = LambdaCallback(on_train_start=lambda trainer, _: begin_training(trainer, config, folder, start, earlier))
    last = LastCheckpoint(folder / "checkpoints" / "last.ckpt", config.checkpoint.every_n_steps)
    callbacks = list((instantiate(config.get("callbacks")) or {}).values())
    # Where weights are averaged, the other callbacks' end of a validation is before the current ones are back.
    callbacks.sort(key=lambda one: isinstance(one, WeightAveraging))
    for key in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if (value := config.trainer.get(key)) is not None and value < 1:
            raise SegmentError(f"trainer.{key}={value}: expected a number from 1")
    if not config.trainer.get("fast_dev_run") and not any(isinstance(one, ModelCheckpoint) for one in callbacks):
        raise SegmentError(
            "callbacks: nothing keeps the best checkpoint, of which the figures are: expected default, as in "
            "callbacks=[default,ema]"
        )
    if config.trainer.enable_progress_bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(RichProgressBar(PROGRESS_RATE))
    trainer = instantiate(
        config.trainer,
        logger=loggers,
        callbacks=[begin, *callbacks, last],  # the last one saves what the others know
        plugins=[WholeCheckpoints(), *(instantiate(config.trainer.get("plugins")) or [])],
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # the data modules bring samplers that repeat no image
    )
    check_trainer(trainer, config, earlier)
    return trainer


def check_trainer(trainer: Any, config: DictConfig, earlier: dict[str, Any] | None) -> None:
    """What is known of a run before it begins.

    Raises:
        SegmentError: it would train or validate nothing, can't do what is asked of it, or has other processes than
            the run had that goes on.
    """
    if 0 in {trainer.max_epochs, trainer.max_steps, trainer.limit_train_batches}:
        raise SegmentError("trainer.max_epochs, max_steps or limit_train_batches is 0: nothing would be trained")
    if 0 < (trainer.max_epochs or 0) < (trainer.check_val_every_n_epoch or 1):
        raise SegmentError(
            f"trainer.check_val_every_n_epoch={trainer.check_val_every_n_epoch}: nothing would be validated in "
            f"{trainer.max_epochs} epochs, and the best checkpoint is the best in validation"
        )
    if trainer.limit_val_batches == 0 and not trainer.fast_dev_run:
        raise SegmentError(
            "trainer.limit_val_batches=0: nothing would be validated, and the best checkpoint is the best in validation"
        )
    if config.trainer.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise SegmentError("trainer.sync_batchnorm=true: torch can do this on GPUs only; leave it out on CPUs")
    if earlier and trainer.world_size != earlier["world_size"]:
        raise SegmentError(
            f"resume: this run trains on {earlier['world_size']} processes, but here are {trainer.world_size}: "
            "set trainer.devices and trainer.num_nodes as they were"
        )


def begin_training(
    trainer: Any, config: DictConfig, folder: Path, start: Path | None, earlier: dict[str, Any] | None
) -> None:
    """When training begins: what an earlier run left is no result of this one, whose origin is written down."""
    from segment.results import clear

    if not trainer.is_global_zero:
        return
    print(steps_line(trainer))
    if trainer.fast_dev_run:
        return
    clear(folder)
    if start is None or not is_own(start, folder):
        for name in ("last.ckpt", "best.ckpt"):
            (folder / "checkpoints" / name).unlink(missing_ok=True)
        if start and (best := start.with_name("best.ckpt")).is_file():  # it may stay the best
            with best.open("rb") as source, whole_file(folder / "checkpoints" / "best.ckpt", "wb") as file:
                shutil.copyfileobj(source, file)
    hydra = HydraConfig.get()
    record = provenance.collect(
        words=[word for word in hydra.overrides.task if not word.startswith(("resume=", "repeat="))],
        config_dirs=[source.path for source in hydra.runtime.config_sources if source.provider == "command-line"],
        directory=hydra.runtime.cwd,
        config=plain(config),
        choices=plain(hydra.runtime.choices),
        data=trainer.datamodule.fingerprints(),
        world_size=trainer.world_size,
        device=device_name(trainer.strategy.root_device),
        loggers={
            name: logger.version for name, logger in zip(config.get("logger") or {}, trainer.loggers[1:], strict=True)
        },
    )
    repeated = provenance.read(Path(config.repeat).expanduser()) if config.repeat else None
    for name, then in (("this run", earlier), (config.repeat, repeated)):
        if then and (found := provenance.differences(then, record)):
            print(f"note: not as it was when {name} began: {'; '.join(found)}")
    provenance.write(folder, record, trainer.global_step, earlier)


def steps_line(trainer: Any) -> str:
    """How many images a step of the optimiser sees, as a line for the screen."""
    processes, images, batches = trainer.world_size, trainer.datamodule.batch_size, trainer.accumulate_grad_batches
    each = f", {images} images each" if processes > 1 else ""
    accumulated = f", {batches} batches a step" if batches > 1 else ""
    number = f"{processes} processes" if processes > 1 else "1 process"
    return f"training on {number}{each}{accumulated}: {processes * images * batches} images a step"


def device_name(device: Any) -> str:
    """The model of a GPU, or the kind of another device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


def conclude(trainer, module, data, folder: Path) -> None:
    """Evaluate the best checkpoint on the validation split; metrics.json, pictures, table, next step."""
    from lightning.pytorch.callbacks import WeightAveraging

    from segment.checkpoint import load_checkpoint, load_weights
    from segment.results import evaluate, report

    best = folder / "checkpoints" / "best.ckpt"
    if not best.is_file():
        raise SegmentError(
            f"{best} was not written: nothing was validated. Did training end (trainer.max_steps, trainer.max_time) "
            "before the first validation, which comes with an epoch's end?"
        )
    load_weights(module.net, load_checkpoint(best), best)
    # Averaged weights, which are the last ones', would take the place of the best for an evaluation.
    trainer.callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, WeightAveraging)]
    loggers, trainer.loggers = trainer.loggers, []  # or this evaluation would be a point of the curves
    metrics = evaluate(trainer, module, data, data.val_split, best)
    if not trainer.is_global_zero:
        return
    for logger in loggers:
        logger.log_metrics({f"best/{k}": v for k, v in metrics.items() if isinstance(v, float)}, trainer.global_step)
        logger.save()
    report(metrics, module, data.dataset(data.val_split), folder)
    print(f"run directory  {shown(folder)}")
    checkpoint = shlex.quote(f"checkpoint={shown(best)}")
    print(f"next           python -m segment.predict {checkpoint} input=IMAGE_OR_FOLDER output=FOLDER")


def make_loggers(config: DictConfig, folder: Path, steps: int, earlier: dict[str, Any] | None) -> list:
    """metrics.csv always, and what ``logger=`` names; of a run that goes on the rows and wandb's id go on, too.

    Args:
        steps: that the run has had; rows after them will be written anew.
    """
    from segment.rows import MetricsFile, rows_before

    loggers: list = [MetricsFile(folder, rows_before(folder / "metrics.csv", steps))]
    ids = earlier["loggers"] if earlier else {}
    for name, part in (config.get("logger") or {}).items():
        own = {"id": ids[name]} if name in ids and "id" in part and part.id is None else {}
        loggers.append(instantiate(part, save_dir=str(folder), **own))
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    return loggers


if __name__ == "__main__":
    entry_point("train", one_job("segment.train", train), take_words)
