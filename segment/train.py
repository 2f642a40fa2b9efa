"""Train a network: ``python -m segment.train model=fcn16s data=voc data.root=DIR``."""

import functools
import shlex
import shutil
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from segment.cli.build import build_later, build_metrics, build_net, instantiate
from segment.cli.config import plain
from segment.cli.entry_point import entry_point, silence_known_warnings
from segment.cli.overrides import override_key
from segment.cli.run_folder import output_folder
from segment.cli.value_types import check_seed, check_value
from segment.errors import SegmentError
from segment.files import shown, whole_file
from segment.records.folder import RunFolder
from segment.records.trust import MODELS, check_file_names, needed_trust, trust_override
from segment.sweeps.other_launchers import in_fresh_process
from segment.sweeps.settings import prepare_sweep
from segment.training.processes import watch_first_process
from segment.training.resume import RunStart, apply_recorded_overrides, find_start

UNRECORDED = {"resume", "repeat", "trust", "data.download", "data.url", "data.checksum"}
"""Keys whose overrides are not recorded: a record must not start, trust or download anything."""


def train(config: DictConfig) -> None:
    """Train a net, evaluate its best checkpoint, and write the results into the run folder."""
    check_config(config)

    import lightning as L  # here and not above, so that --help, --cfg and a mistake need not wait for torch

    from segment.training.class_weights import find_class_weights
    from segment.training.faults import ending_run, occupied, stoppable
    from segment.training.loggers import build_loggers
    from segment.training.range_test import check_range_test, run_range_test
    from segment.training.trainer import build_trainer

    silence_known_warnings()
    start = find_start(config.resume, RunFolder(output_folder()))
    start.check_same_run(plain(config))
    if start.is_finished(plain(config)):
        print(f"finished: {shown(start.folder.path)} is trained, and its metrics are in metrics.json")
        return
    if config.tune.lr:
        check_range_test(config, start)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data)
    data.prepare_data()
    data.setup("fit")  # so that an error in the data set shows before the net is built
    weights = find_class_weights(plain(config.loss), data, start.record, repeated_record(config))
    module = build_module(config, data, weights)
    with occupied(start.folder, start.in_same_folder), ending_run(start.folder) as run:
        if config.tune.lr:
            return run_range_test(config, start, module, data, run)
        build_loggers(config, start, run.loggers)
        begin = functools.partial(record_start, config=config, start=start, weights=weights)
        run.trainer = trainer = build_trainer(config, start, run.loggers, begin)
        trainer.fit(module, data, ckpt_path=start.checkpoint)
        if start.checkpoint and not start.in_same_folder and trainer.global_step == start.step:
            raise SegmentError(f"resume={config.resume} was trained to its end: evaluate it with segment.evaluate")
        if not trainer.fast_dev_run:
            with stoppable(start.folder):
                finish(trainer, module, data, start.folder)
        elif trainer.is_global_zero:
            print("fast_dev_run is complete: nothing was kept")


def check_config(config: DictConfig) -> None:
    """Check the values that no part declares a type for.

    Raises:
        SegmentError: a value is of another type.
    """
    check_seed(config.seed)
    check_file_names(plain(config), "this run")  # a run with other names could not be resumed
    if isinstance(config.checkpoint, str):
        raise SegmentError(
            f"checkpoint={config.checkpoint}: resume=RUN continues a run, model.weights=CHECKPOINT starts from a net"
        )
    for key, kind in {
        "compile": bool,
        "channels_last": bool,
        "checkpoint.every_n_steps": int | None,
        "tune.lr": bool,
    }.items():
        OmegaConf.update(config, key, check_value(key, OmegaConf.select(config, key), kind))
    if config.compile:
        from segment.training.checks import check_compiler

        check_compiler(config.trainer.get("accelerator"))


def repeated_record(config: DictConfig) -> dict[str, Any] | None:
    """Return ``provenance.json`` of the run that ``repeat=`` names."""
    from segment.records.provenance import read_provenance

    return read_provenance(RunFolder(Path(config.repeat).expanduser())) if config.repeat else None


def build_module(config: DictConfig, data: Any, weights: list[float] | None) -> Any:
    """Build the net with its loss, optimiser and schedule."""
    import torch

    from segment.records.checkpoint import make_metadata
    from segment.training.class_weights import fill_in
    from segment.training.module import SegmentationModule

    net = build_net(config.model, len(data.classes))
    if not config.channels_last:
        net.to(memory_format=torch.contiguous_format)
    if config.compile:
        net.compile()
    return SegmentationModule(
        net,
        data.classes,
        instantiate(OmegaConf.create({"loss": fill_in(plain(config.loss), weights)}).loss),
        build_later(config.optimizer),
        build_later(config.scheduler),
        make_metadata(
            {**plain(config.model), **net.settings()},
            {**plain(config.data), **data.settings()},
            data.classes,
            data.training_fingerprints(),
        ),
        seed=config.seed,
        metrics=build_metrics(config.get("metrics"), len(data.classes)),
    )


def record_start(trainer: Any, config: DictConfig, start: RunStart, weights: list[float] | None) -> None:
    """Delete the results of an earlier run in the folder, and write ``provenance.json``, when training begins."""
    from segment.records.provenance import environment_changes, write_provenance
    from segment.training.trainer import describe_step

    if not trainer.is_global_zero:
        return
    print(describe_step(trainer))
    if trainer.fast_dev_run:
        return
    start.folder.clear_results()
    if not start.in_same_folder:
        replace_checkpoints(start)
    record = provenance_of(trainer, config) | {"class_weights": weights}
    for name, then in (("this run", start.record), (config.repeat, repeated_record(config))):
        if then and (found := environment_changes(then, record)):
            print(f"note: changed since {name} began: {'; '.join(found)}")
    write_provenance(start.folder, record, trainer.global_step, start.record)


def replace_checkpoints(start: RunStart) -> None:
    """Delete another run's checkpoints, and copy the best one of the resumed run, since it may stay the best."""
    for path in (start.folder.last_checkpoint, start.folder.best_checkpoint):
        path.unlink(missing_ok=True)
    if start.checkpoint and (best := RunFolder.of_checkpoint(start.checkpoint).best_checkpoint).is_file():
        with best.open("rb") as source, whole_file(start.folder.best_checkpoint, "wb") as file:
            shutil.copyfileobj(source, file)


def provenance_of(trainer: Any, config: DictConfig) -> dict[str, Any]:
    """Return everything that the metrics of a run depend on."""
    from segment.records.provenance import collect_provenance
    from segment.training.trainer import device_name

    hydra = HydraConfig.get()
    return collect_provenance(
        overrides=[
            override for override in hydra.overrides.task if override_key(override).lstrip("+") not in UNRECORDED
        ],
        config_dirs=[source.path for source in hydra.runtime.config_sources if source.provider == "command-line"],
        directory=hydra.runtime.cwd,
        config=plain(config),
        choices=plain(hydra.runtime.choices),
        data=trainer.datamodule.listing_hashes(),
        world_size=trainer.world_size,
        device=device_name(trainer.strategy.root_device),
        loggers={
            name: logger.version for name, logger in zip(config.get("logger") or {}, trainer.loggers[1:], strict=True)
        },
    )


def finish(trainer: Any, module: Any, data: Any, folder: RunFolder) -> None:
    """Evaluate the best checkpoint on the validation split, write the results, and print the next step."""
    from lightning.pytorch.callbacks import WeightAveraging

    from segment.evaluation.evaluator import NetPredictor, evaluate_split
    from segment.evaluation.examples import predict_examples, spread_indices
    from segment.evaluation.results import all_metrics, describe_source, write_results
    from segment.records.checkpoint import load_checkpoint, load_weights

    best = folder.best_checkpoint
    if not best.is_file():
        raise SegmentError(
            f"{best} was not written: nothing was validated. Did training end (trainer.max_steps, trainer.max_time) "
            "before the first validation, which comes with an epoch's end?"
        )
    net, split, inference = module.net, data.val_split, module.inference
    load_weights(net, load_checkpoint(best), best)
    # WeightAveraging would evaluate its average, which is that of the last step, in place of the best weights.
    trainer.callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, WeightAveraging)]
    loggers, trainer.loggers = trainer.loggers, []  # this evaluation is not part of the logged curves
    evaluation = evaluate_split(trainer, NetPredictor(net, inference), data, split, further=module.further_metrics)
    if not trainer.is_global_zero:
        return
    images = len(evaluation.counts)
    source = describe_source(data, split, inference, module.metadata, best, images, str(trainer.precision))
    metrics = all_metrics(evaluation) | source
    for logger in loggers:
        logger.log_metrics({f"best/{k}": v for k, v in metrics.items() if isinstance(v, float)}, trainer.global_step)
        logger.save()
    dataset = data.dataset(split)
    examples = predict_examples(net, inference, dataset, spread_indices(images))
    write_results(metrics, evaluation, dataset, {example.id: example for example in examples}, folder)
    print(f"run directory  {shown(folder.path)}")
    trust = needed_trust(module.metadata["model"], (MODELS,))
    overrides = shlex.join([f"checkpoint={shown(best)}", *([trust_override(trust)] if trust else [])])
    print(f"next           python -m segment.predict {overrides} input=IMAGE_OR_FOLDER output=FOLDER")


def prepare() -> None:
    """Complete the command line before Hydra reads it: the overrides of a recorded run, and what a sweep needs."""
    apply_recorded_overrides()
    prepare_sweep()


if __name__ == "__main__":
    watch_first_process()
    entry_point("train", in_fresh_process("segment.train", train), prepare)
