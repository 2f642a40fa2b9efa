"""Evaluate a checkpoint: ``python -m segment.evaluate checkpoint=RUN/checkpoints/best.ckpt split=val``."""

import functools
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.config import output_folder
from segment.cli.entry_point import entry_point, silence_known_warnings
from segment.cli.overrides import override_key, typed_path
from segment.cli.value_types import check_seed, check_value
from segment.errors import SegmentError
from segment.files import shown
from segment.records.folder import RunFolder, checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.classes import Classes
    from segment.data.datamodule import SegmentationDataModule


def evaluate(config: DictConfig) -> None:
    """Evaluate a checkpoint on a split of its own data set or of another one, and write the results."""
    path, folder = checkpoint_path(config.checkpoint), RunFolder(output_folder())
    if folder.provenance.is_file():
        raise SegmentError(
            f"hydra.run.dir={shown(folder.path)}: a net was trained there, whose metrics this would replace; "
            "name another folder, or leave it out"
        )
    from segment.models.state_dicts import METADATA  # here, since torch takes seconds
    from segment.records.checkpoint import load_net, read_classes
    from segment.training.faults import occupied

    silence_known_warnings()
    with occupied(folder):
        folder.clear_results()
        for key, kind in {"boundary": bool, "split": str}.items():
            check_value(key, config[key], kind)
        check_seed(config.seed)
        inference = instantiate(config.inference)
        checkpoint = read_once(path)
        read_once.cache_clear()  # the net has a copy of the weights
        data = instantiate(config.data)
        check_same_classes(read_classes(checkpoint), data.classes)
        data.prepare_data()
        net, metadata = load_net(checkpoint, path), checkpoint[METADATA]
        del checkpoint
        if config.submit is not None:
            write_submission(config, net, data, inference, folder)
        else:
            write_evaluation(config, net, data, inference, folder, path, metadata)


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
    """Write the archive that VOC's evaluation server takes."""
    from segment.prediction.voc_archive import check_submit_options, write_voc_archive

    check_submit_options(config.submit, config.competition, data)
    net.to(build_evaluation_trainer(config, folder).strategy.root_device)
    write_voc_archive(
        lambda image: inference.class_map(net, image), data, config.split, config.competition, folder.voc_archive
    )


def write_evaluation(
    config: DictConfig,
    net: Any,
    data: "SegmentationDataModule",
    inference: Any,
    folder: RunFolder,
    checkpoint: Path,
    metadata: dict[str, Any],
) -> None:
    """Evaluate a net and write the results."""
    from segment.evaluation.evaluator import evaluate_split
    from segment.evaluation.examples import predict_examples, worst_and_best
    from segment.evaluation.results import all_metrics, describe_source, write_results
    from segment.training.faults import ending_run

    dataset = data.dataset(config.split)
    if not dataset.has_masks:
        raise SegmentError(
            f"the split {config.split} has no masks: there is nothing to compare with; "
            "use segment.predict, or submit=voc for VOC's server"
        )
    with ending_run(folder) as run:
        run.trainer = trainer = build_evaluation_trainer(config, folder)
        evaluation = evaluate_split(trainer, net, data, config.split, inference, config.boundary)
        if not trainer.is_global_zero:
            return
        images = len(evaluation.counts)
        source = describe_source(data, config.split, images, inference, metadata, checkpoint, str(trainer.precision))
        chosen = worst_and_best(evaluation.counts, dataset)
        examples = dict(zip(chosen, predict_examples(net, inference, dataset, chosen.values()), strict=True))
        write_results(all_metrics(evaluation) | source, evaluation, dataset, examples, folder)
    if source["images_trained_on"]:
        share = f"{source['images_trained_on']} of {images}"
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

    Raises:
        SegmentError: ``bootstrap=`` is given, which earlier versions had, or there is no checkpoint to read.
    """
    for argument in sys.argv[1:]:
        if override_key(argument).lstrip("+") == "bootstrap":
            raise SegmentError(
                f"{argument}: the interval is computed by the jackknife and needs no resamples; leave it out"
            )
    own, path = "data=checkpoint", typed_path("checkpoint")
    if any(override_key(argument) == "data" and argument != own for argument in sys.argv):
        return
    if path is None:
        if any(argument.startswith("data.") for argument in sys.argv):
            raise SegmentError("checkpoint is missing: give checkpoint=FILE")
        return
    checkpoint = checkpoint_path(path)
    from segment.records.checkpoint import data_config

    node = data_config(read_once(checkpoint))
    ConfigStore.instance().store(group="data", name="checkpoint", node=node)
    if own not in sys.argv:  # DDP's child processes get this command line, too
        sys.argv.insert(1, own)


if __name__ == "__main__":
    entry_point("evaluate", evaluate, prepare_overrides)
