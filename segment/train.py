"""Train a network: ``python -m segment.train model=fcn16s data=voc data.root=DIR``."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from segment.config import entry_point, instantiate, plain, quiet, quote, run_folder, value_of
from segment.errors import SegmentError
from segment.sweep import one_job

WORDS = Path(".hydra", "trained.yaml")
"""The words of the command line that a run was trained with (Hydra's own record is overwritten at each start)."""


def train(config: DictConfig) -> None:
    """Fit, then evaluate the best checkpoint and write down what came of it."""
    import lightning as L  # here and not above, so that --help and --cfg need not wait for torch
    import torch
    from lightning.pytorch.callbacks import LambdaCallback
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from segment.checkpoint import make_card
    from segment.module import SegmentationModule

    quiet()
    folder = run_folder()
    start = checkpoint_to_resume(config, folder)
    if start is not None and (folder / "metrics.json").is_file() and is_complete(start, config):
        print(f"finished: {shown(folder)} has all its epochs and its metrics.json")
        return
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data)
    data.prepare_data()
    data.setup("fit")  # a fault of the data set shows before the net is built
    net = instantiate(config.model, num_classes=len(data.classes))
    if config.channels_last:
        net.to(memory_format=torch.channels_last)
    if config.compile:
        net.compile()
    module = SegmentationModule(
        net,
        data.classes,
        instantiate(config.loss),
        instantiate(config.optimizer),
        instantiate(config.scheduler),
        make_card(plain(config.model), {**plain(config.data), **data.location()}, data.classes),
    )
    words = list(HydraConfig.get().overrides.task)
    begin = LambdaCallback(on_train_start=lambda trainer, _: clear_earlier(trainer, folder, words, start))
    loggers: list = []
    trainer: Any = None
    failed = 1
    try:
        loggers += make_loggers(config, folder, start)
        callbacks = [begin, *instantiate(config.callbacks).values()]
        trainer = instantiate(config.trainer, logger=loggers, callbacks=callbacks, default_root_dir=str(folder))
        trainer.fit(module, data, ckpt_path=start)
        if not trainer.fast_dev_run:
            conclude(trainer, module, data, folder)
        elif trainer.is_global_zero:
            print("fast_dev_run is through: one batch trained and evaluated, nothing kept")
        failed = 0
    except SIGTERMException:  # a SystemExit without a code, which would pass for success
        sys.exit(128 + signal.SIGTERM)
    finally:
        if failed and hasattr(getattr(trainer, "strategy", None), "launcher"):
            kill = getattr(trainer.strategy.launcher, "kill", None)  # DDP's other processes would wait for this one
            if kill is not None:
                kill(signal.SIGKILL)
        for logger in loggers[1:]:
            if hasattr(logger.experiment, "finish"):  # wandb's next run would go on in this one
                logger.experiment.finish(exit_code=failed)


def clear_earlier(trainer, folder: Path, words: list[str], start: Path | None) -> None:
    """When training begins: what an earlier run left is no result of this one. The run's words are for resume=."""
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return
    (folder / "metrics.json").unlink(missing_ok=True)
    if start is None:
        for name in ("best.ckpt", "last.ckpt"):
            (folder / "checkpoints" / name).unlink(missing_ok=True)
    OmegaConf.save(OmegaConf.create(words), folder / WORDS)


def conclude(trainer, module, data, folder: Path) -> None:
    """Evaluate the best checkpoint on the validation split; metrics.json, pictures, table, next step."""
    from segment.checkpoint import load_checkpoint, load_weights
    from segment.results import evaluate, report

    best = folder / "checkpoints" / "best.ckpt"
    if not best.is_file():
        raise SegmentError(f"{best} was not written: nothing was validated (trainer.limit_val_batches=0?)")
    load_weights(module.net, load_checkpoint(best), best)
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


def make_loggers(config: DictConfig, folder: Path, start: Path | None) -> list:
    """CSV always, and what ``logger=`` names; a resumed run's metrics.csv goes on where its checkpoint was."""
    from lightning.pytorch.loggers import CSVLogger
    from lightning.pytorch.loggers.csv_logs import ExperimentWriter

    from segment.results import rows_before

    earlier = rows_before(folder / "metrics.csv", start) if start else []
    csv = CSVLogger(folder, name="", version="")
    loggers = [csv, *(instantiate(part, save_dir=str(folder)) for part in (config.get("logger") or {}).values())]
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    if earlier and isinstance(csv.experiment, ExperimentWriter):  # on other ranks a dummy
        csv.experiment.metrics.extend(earlier)
        csv.save()
    return loggers


def checkpoint_to_resume(config: DictConfig, folder: Path) -> Path | None:
    """The checkpoint that ``resume=`` means; None to start fresh.

    Raises:
        SegmentError: a path was given and there is none.
    """
    if config.resume is None:
        return None
    path = folder if config.resume == "auto" else Path(config.resume).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if path.is_file():
        return path
    if config.resume == "auto":
        return None
    raise SegmentError(f"resume={config.resume}: no checkpoint at {path}")


def is_complete(checkpoint: Path, config: DictConfig) -> bool:
    """Whether a checkpoint has all the epochs or steps that the configuration asks for."""
    from segment.checkpoint import load_checkpoint

    content = load_checkpoint(checkpoint)
    epochs, steps = config.trainer.max_epochs, config.trainer.max_steps
    done = epochs is not None and 0 <= epochs <= content["epoch"] + 1
    return done or 0 <= steps <= content["global_step"]


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def continue_in_place() -> None:
    """``resume=DIR|CHECKPOINT`` goes on in that run's directory with that run's words, unless told otherwise."""
    given = value_of("resume")
    keys = {word.partition("=")[0] for word in sys.argv[1:]}
    if given in {None, "auto"} or "hydra.run.dir" in keys:
        return
    path = Path(str(given)).expanduser()
    folder = path if path.is_dir() else path.parent.parent
    saved = folder / WORDS
    if not saved.is_file():
        raise SegmentError(f"resume={given}: expected a run directory or a checkpoint in one, but {saved} is missing")
    words = [word for word in map(str, OmegaConf.load(saved)) if word.partition("=")[0] not in keys]
    sys.argv[1:] = [*words, *sys.argv[1:], f"hydra.run.dir={quote(str(folder.absolute()))}", "hydra.mode=RUN"]


if __name__ == "__main__":
    entry_point("train", one_job("segment.train", train), continue_in_place)
