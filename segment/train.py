"""Train a network: ``python -m segment.train model=fcn16s data=voc data.root=DIR``."""

import shlex
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from segment.config import entry_point, instantiate, one_job, plain, quiet, quote, run_folder, value_of
from segment.errors import SegmentError


def train(config: DictConfig) -> None:
    """Fit, then evaluate the best checkpoint and write down what came of it."""
    import lightning as L  # here and not above, so that --help and --cfg need not wait for torch

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
    data.setup("fit")  # a fault of the data set shows before the net is built
    net = instantiate(config.model, num_classes=len(data.classes))
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
    loggers = make_loggers(config, folder, start)
    callbacks = list(instantiate(config.callbacks).values())
    trainer = instantiate(config.trainer, logger=loggers, callbacks=callbacks, default_root_dir=str(folder))
    failed = 1
    try:
        if trainer.is_global_zero:
            (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier run: not this one's result
        trainer.fit(module, data, ckpt_path=start)
        if trainer.fast_dev_run:
            if trainer.is_global_zero:
                print("fast_dev_run is through: one batch trained and evaluated, nothing kept")
        elif trainer.state.finished:
            conclude(trainer, module, data, folder)
        failed = 0
    finally:
        for logger in loggers[1:]:
            if hasattr(logger.experiment, "finish"):  # wandb's next run would go on in this one
                logger.experiment.finish(exit_code=failed)


def conclude(trainer, module, data, folder: Path) -> None:
    """Evaluate the best checkpoint on the validation split; metrics.json, pictures, table, next step."""
    from segment.checkpoint import load_checkpoint, load_weights
    from segment.results import evaluate, report

    best = folder / "checkpoints" / "best.ckpt"
    if not best.is_file():
        raise SegmentError(f"{best} was not written: nothing was validated (trainer.limit_val_batches=0?)")
    load_weights(module.net, load_checkpoint(best), best)
    loggers, trainer.loggers = trainer.loggers, []  # or this evaluation would be a point of the curves
    metrics = evaluate(trainer, module, data, "val", best)
    if not trainer.is_global_zero:
        return
    for logger in loggers:
        logger.log_metrics({f"best/{k}": v for k, v in metrics.items() if isinstance(v, float)}, trainer.global_step)
        logger.save()
    report(metrics, module, data.dataset("val"), folder)
    print(f"run directory  {shown(folder)}")
    checkpoint = shlex.quote(f"checkpoint={shown(best)}")
    print(f"next           python -m segment.predict {checkpoint} input=IMAGE_OR_FOLDER output=FOLDER")


def make_loggers(config: DictConfig, folder: Path, start: Path | None) -> list:
    """CSV always, and what ``logger=`` names; a resumed run's metrics.csv goes on where its checkpoint was."""
    from lightning.pytorch.loggers import CSVLogger

    from segment.results import rows_before

    earlier = rows_before(folder / "metrics.csv", start) if start else []
    csv = CSVLogger(folder, name="", version="")
    loggers = [csv, *(instantiate(part, save_dir=str(folder)) for part in (config.get("logger") or {}).values())]
    for logger in loggers:
        logger.log_hyperparams(plain(config))
    if earlier:
        csv.experiment.metrics.extend(earlier)
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
    saved = folder / ".hydra" / "overrides.yaml"
    if not saved.is_file():
        raise SegmentError(f"resume={given}: expected a run directory or a checkpoint in one, but {saved} is missing")
    words = [word for word in map(str, OmegaConf.load(saved)) if word.partition("=")[0] not in keys]
    sys.argv[1:] = [*words, *sys.argv[1:], f"hydra.run.dir={quote(str(folder.absolute()))}"]


if __name__ == "__main__":
    entry_point("train", one_job(train), continue_in_place)
