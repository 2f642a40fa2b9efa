"""Evaluate a net: ``python -m segment.evaluate checkpoint=RUN/checkpoints/best.ckpt split=val``.

With ``predictions=FOLDER data=NAME`` in place of a checkpoint, masks that any program predicted are evaluated.
"""

import functools
import re
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from segment.cli.build import instantiate
from segment.cli.entry_point import entry_point, silence_known_warnings
from segment.cli.overrides import override_key, typed_list, typed_path
from segment.cli.run_folder import output_folder
from segment.cli.value_types import check_seed, check_value
from segment.errors import SegmentError
from segment.files import first_names, shown, user_path
from segment.records.folder import RunFolder, checkpoint_path
from segment.records.hub import SCHEME, hub_address
from segment.records.trust import read_trust
from segment.training.processes import watch_first_process

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.classes import Classes
    from segment.data.datamodule import SegmentationDataModule

CHECKED_KEYS = {
    "boundary": bool,
    "calibration": bool,
    "split": str,
    "predictions.labels": Literal["index", "dataset"] | None,
}
"""Types of the keys that no part checks."""


def evaluate(config: DictConfig) -> None:
    """Evaluate a checkpoint, or masks from a folder, on a split of a data set, and write the results."""
    check_source(config)
    if config.checkpoint is not None:
        checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    folder = RunFolder(output_folder())
    if folder.provenance.is_file():
        raise SegmentError(
            f"hydra.run.dir={shown(folder.path)}: a net was trained there, whose metrics this would replace; "
            "name another folder, or leave it out"
        )
    from segment.training.faults import occupied

    silence_known_warnings()
    with occupied(folder):
        for key, kind in CHECKED_KEYS.items():
            check_value(key, OmegaConf.select(config, key), kind)
        check_seed(config.seed)
        if config.predictions.folder is None:
            evaluate_checkpoint(config, folder)
        else:
            evaluate_predictions(config, folder)


def check_source(config: DictConfig) -> None:
    """Check that there is either a checkpoint or a folder of predictions, and no key of the other one.

    Raises:
        SegmentError: both are given, or none.
    """
    if config.predictions.folder is not None:
        for key in ("checkpoint", "submit", "calibration"):
            if config[key] not in (None, False):
                raise for_net(key)
    elif config.checkpoint is None:
        raise SegmentError("checkpoint is missing: give checkpoint=FILE, or predictions=FOLDER with data=NAME")
    elif config.predictions.labels is not None:
        raise SegmentError("predictions.labels= is for predictions=FOLDER data=NAME: give it in place of checkpoint=")


def for_net(key: str) -> SegmentError:
    """Return the error for a key that is given with predictions."""
    return SegmentError(f"{key}= is for a net, and predictions= judges files: give one of the two")


def evaluate_checkpoint(config: DictConfig, folder: RunFolder) -> None:
    """Evaluate a checkpoint on a split of its own data set or of another one, or write an archive for a server."""
    from segment.evaluation.evaluator import NetPredictor
    from segment.evaluation.results import describe_source
    from segment.models.state_dicts import METADATA
    from segment.records.checkpoint import load_net, read_classes, trained_reading

    path, inference = checkpoint_path(config.checkpoint), instantiate(config.inference)
    checkpoint = read_once(path)
    read_once.cache_clear()  # the net has a copy of the weights
    data = instantiate(config.data)
    check_same_classes(read_classes(checkpoint), data.classes)
    data.reading.complete(trained_reading(checkpoint))
    data.prepare_data()
    net, metadata = load_net(checkpoint, path, read_trust(config.trust)), checkpoint[METADATA]
    del checkpoint
    if config.submit is not None:
        return write_submission(config, net, data, inference, folder)
    describe = functools.partial(describe_source, data, config.split, inference, metadata, path)
    write_evaluation(config, NetPredictor(net, inference), data, folder, describe)


def evaluate_predictions(config: DictConfig, folder: RunFolder) -> None:
    """Evaluate masks that another program predicted."""
    from segment.console import print_once
    from segment.evaluation.predictions import PredictedMasks
    from segment.evaluation.results import describe_predictions

    data = instantiate(config.data)
    data.prepare_data()
    source = user_path(config.predictions.folder, "predictions")
    dataset = data.dataset(config.split)
    masks = PredictedMasks(source, dataset, data.classes, config.predictions.labels)
    if masks.further:
        print_once(f"note: {len(masks.further)} further files in {source}: {first_names(masks.further)}")
    truth = {sample.mask.resolve() for sample in dataset.samples if sample.mask}
    if truth.intersection(path.resolve() for path in masks.files.values()):
        print_once(f"note: {source} has the data set's own masks, which are compared with themselves")
    write_evaluation(
        config, masks, data, folder, lambda images, _: describe_predictions(data, config.split, masks, images)
    )


def check_same_classes(trained: "Classes", found: "Classes") -> None:
    """Check that the data set has the classes that the net was trained on.

    Raises:
        SegmentError: a class differs.
    """
    if trained.names == found.names:
        return
    pairs = zip_longest(trained.names, found.names, fillvalue="nothing")
    number, (expected, other) = next((i, pair) for i, pair in enumerate(pairs) if len({*pair}) > 1)
    raise SegmentError(
        f"the checkpoint has {len(trained)} classes, the data has {len(found)}, and they must be the "
        f"same: class {number} is {expected} there and {other} here"
    )


def build_evaluation_trainer(config: DictConfig, folder: RunFolder) -> Any:
    """Build a Trainer that writes nothing."""
    return instantiate(
        config.trainer,
        logger=False,
        enable_checkpointing=False,
        default_root_dir=str(folder.path),
        use_distributed_sampler=False,  # see segment.train
    )


def write_submission(config: DictConfig, net: Any, data: Any, inference: Any, folder: RunFolder) -> None:
    """Write the archive that the evaluation server of VOC or ADE20K takes."""
    from segment.prediction.ade20k_archive import write_ade20k_archive
    from segment.prediction.archive import check_submit_options
    from segment.prediction.voc_archive import write_voc_archive

    check_submit_options(config.submit, config.competition, data)
    net.to(build_evaluation_trainer(config, folder).strategy.root_device)
    folder.clear_results()
    predict = functools.partial(inference.class_map, net)
    if config.submit == "voc":
        write_voc_archive(predict, data, config.split, config.competition, folder.voc_archive)
    else:
        write_ade20k_archive(predict, data, config.split, folder.ade20k_archive)


def write_evaluation(
    config: DictConfig,
    predictor: Any,
    data: "SegmentationDataModule",
    folder: RunFolder,
    describe: Callable[[int, str], dict[str, Any]],
) -> None:
    """Evaluate predictions and write the results.

    Args:
        predictor: see :class:`segment.evaluation.evaluator.EvaluationModule`.
        describe: maps the number of evaluated images and the precision to what ``metrics.json`` records of the source.
    """
    from segment.evaluation.evaluator import evaluate_split
    from segment.evaluation.examples import make_examples, worst_and_best
    from segment.evaluation.results import all_metrics, write_results
    from segment.training.faults import ending_run

    dataset = data.dataset(config.split)
    if not dataset.has_masks:
        raise SegmentError(
            f"the split {config.split} has no masks: there is nothing to compare with; "
            "use segment.predict, or submit=voc or ade20k for the servers"
        )
    data.image_groups(config.split)  # a mistake in data.groups is found before the earlier results are deleted
    with ending_run(folder) as run:
        run.trainer = trainer = build_evaluation_trainer(config, folder)
        if trainer.is_global_zero:
            folder.clear_results()
        evaluation = evaluate_split(trainer, predictor, data, config.split, config.boundary, config.calibration)
        if not trainer.is_global_zero:
            return
        source = describe(len(evaluation.counts), str(trainer.precision))
        chosen = worst_and_best(evaluation.counts, dataset)
        examples = dict(zip(chosen, make_examples(predictor, dataset, chosen.values()), strict=True))
        write_results(all_metrics(evaluation) | source, evaluation, dataset, examples, folder)
    if source.get("images_trained_on"):
        share = f"{source['images_trained_on']} of {source['images']}"
        print(f"note: {share} evaluation images were in the training set, so these scores are optimistic")
    print(f"run directory  {shown(folder.path)}")


@functools.cache
def read_once(path: Path) -> dict[str, Any]:
    """Load a checkpoint once: its data configuration is needed before Hydra starts."""
    from segment.records.checkpoint import load_checkpoint

    return load_checkpoint(path)


def prepare_overrides() -> None:
    """Make the checkpoint's data configuration Hydra's option ``data=checkpoint``, and the default.

    It then is an option like any other: ``data.root=`` changes one key of it, and ``data=voc`` replaces it.
    ``predictions=FOLDER`` stands for ``predictions.folder=FOLDER``. These keys lose their ``+`` or ``++``.

    Raises:
        SegmentError: ``bootstrap=`` is given, which earlier versions had, there is no checkpoint to read, or keys
            exclude each other.
    """
    sys.argv[1:] = [re.sub(r"^\+*predictions=", "predictions.folder=", argument) for argument in sys.argv[1:]]
    sys.argv[1:] = [
        re.sub(r"^\+*(checkpoint|data|predictions\.folder)=", r"\1=", argument) for argument in sys.argv[1:]
    ]
    for argument in sys.argv[1:]:
        if override_key(argument).lstrip("+") == "bootstrap":
            raise SegmentError(
                f"{argument}: the interval is computed by the jackknife and needs no resamples; leave it out"
            )
    if typed_path("predictions.folder") is not None:
        return check_keys_of_predictions({override_key(argument).lstrip("+") for argument in sys.argv[1:]})
    pin_revision()
    own, path = "data=checkpoint", typed_path("checkpoint")
    if any(override_key(argument) == "data" and argument != own for argument in sys.argv):
        return
    if path is None:
        if any(argument.startswith("data.") for argument in sys.argv):
            raise SegmentError("checkpoint is missing: give checkpoint=FILE")
        return
    checkpoint = checkpoint_path(path)
    from segment.records.checkpoint import data_config

    node = data_config(read_once(checkpoint), read_trust(typed_list("trust")))
    ConfigStore.instance().store(group="data", name="checkpoint", node=node)
    if own not in sys.argv:  # DDP's child processes get this command line, too
        sys.argv.insert(1, own)


def pin_revision() -> None:
    """Put the commit into ``checkpoint=hf://...``: all processes load the same one, and Hydra records it."""
    path = typed_path("checkpoint")
    if path is not None and path.startswith(SCHEME):
        pinned = f"checkpoint={hub_address(checkpoint_path(path))}"
        sys.argv[1:] = [pinned if override_key(argument) == "checkpoint" else argument for argument in sys.argv[1:]]


def check_keys_of_predictions(keys: set[str]) -> None:
    """Check that the keys of a command line with predictions fit together.

    Raises:
        SegmentError: a key is for a net, or there is no data set.
    """
    for key in sorted(keys):
        if key in {"checkpoint", "submit", "competition", "calibration"} or key.startswith("inference"):
            raise for_net(key)
    if "data" not in keys:
        raise SegmentError("data is missing: predictions=FOLDER needs the data set of the images, data=NAME")


if __name__ == "__main__":
    watch_first_process()
    entry_point("evaluate", evaluate, prepare_overrides)
