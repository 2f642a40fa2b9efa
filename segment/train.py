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

from segment.cli.config import entry_point, instantiate, plain, quiet, run_folder
from segment.cli.value_types import check_seed, check_value
from segment.errors import SegmentError, end_other_processes
from segment.files import shown, whole_file
from segment.records import provenance
from segment.sweeps.launcher import one_job
from segment.training.resume import check_same_run, checkpoint_to_resume, is_own, same_length, take_words

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def train(config: DictConfig) -> None:
    """Fit, then evaluate the best checkpoint and write down what came of it."""
    import lightning as L  # here and not above, so that --help and --cfg need not wait for torch
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from segment.records.checkpoint import steps_of
    from segment.training.trainer import make_trainer

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
        trainer = make_trainer(
            config, folder, loggers, earlier, lambda trainer: begin_training(trainer, config, folder, start, earlier)
        )
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

    from segment.records.checkpoint import make_card
    from segment.training.module import SegmentationModule

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
            data.training_fingerprints(),
        ),
        seed=config.seed,
    )


def begin_training(
    trainer: Any, config: DictConfig, folder: Path, start: Path | None, earlier: dict[str, Any] | None
) -> None:
    """When training begins: what an earlier run left is no result of this one, whose origin is written down."""
    from segment.evaluation.evaluator import clear
    from segment.training.trainer import device_name, steps_line

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
        data=trainer.datamodule.content_hashes(),
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


def conclude(trainer, module, data, folder: Path) -> None:
    """Evaluate the best checkpoint on the validation split; metrics.json, pictures, table, next step."""
    from lightning.pytorch.callbacks import WeightAveraging

    from segment.evaluation.evaluator import evaluate, report
    from segment.records.checkpoint import load_checkpoint, load_weights

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
    from segment.records.metrics_csv import MetricsFile, rows_before

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
