"""Evaluate a checkpoint: ``python -m segment.evaluate checkpoint=RUN/checkpoints/best.ckpt split=val``."""

import functools
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from segment.cli.config import entry_point, instantiate, quiet, run_folder, value_of
from segment.cli.value_types import check_seed, check_value
from segment.errors import SegmentError, end_other_processes
from segment.files import shown, user_path
from segment.records import provenance


@functools.cache
def read_once(path: Path) -> dict[str, Any]:
    """The checkpoint: its data configuration is wanted before Hydra starts, and a gigabyte takes its time."""
    from segment.records.checkpoint import load_checkpoint

    return load_checkpoint(path)


def evaluate(config: DictConfig) -> None:
    """Figures, table and pictures of a checkpoint on a split of its own data set or of the one given."""
    from segment.evaluation import evaluator as results
    from segment.models.state_dicts import METADATA
    from segment.records.checkpoint import classes_of, load_net
    from segment.submission import check_submission, submit
    from segment.training.module import SegmentationModule

    quiet()
    path, folder = user_path(config.checkpoint, "checkpoint"), run_folder()
    if (folder / provenance.NAME).is_file():
        raise SegmentError(
            f"hydra.run.dir={shown(folder)}: a net was trained there, whose figures this would replace; "
            "name another folder, or leave it out"
        )
    results.clear(folder)
    inference = instantiate(config.inference)
    if type(config.bootstrap) is not int or config.bootstrap < 0:
        raise SegmentError(f"bootstrap={config.bootstrap}: expected a number of resamples, 0 for no interval")
    check_value("boundary", config.boundary, bool)
    check_value("split", config.split, str)
    check_seed(config.seed)
    checkpoint = read_once(path)
    read_once.cache_clear()  # the net's copy is enough
    classes = classes_of(checkpoint)
    data = instantiate(config.data)
    if data.classes.names != classes.names:
        pairs = zip_longest(classes.names, data.classes.names, fillvalue="nothing")
        number, (known, found) = next((i, pair) for i, pair in enumerate(pairs) if len({*pair}) > 1)
        raise SegmentError(
            f"the checkpoint knows {len(classes)} classes, the data has {len(data.classes)}, and they must be the "
            f"same: class {number} is {known} there and {found} here"
        )
    data.prepare_data()
    if config.submit is not None:
        check_submission(config.submit, config.competition, data)
    dataset = data.dataset(config.split)
    if config.submit is None and not dataset.has_masks:
        raise SegmentError(
            f"the split {config.split} has no masks: there is nothing to compare with; "
            "use segment.predict, or submit=voc for VOC's server"
        )
    # The data set's classes, not the checkpoint's: they also tell things from stuff.
    net = load_net(checkpoint, path)
    card = checkpoint[METADATA]
    del checkpoint
    module = SegmentationModule(net, data.classes, card=card, inference=inference, boundary=config.boundary)
    trainer = instantiate(
        config.trainer,
        logger=False,
        enable_checkpointing=False,
        default_root_dir=str(folder),
        use_distributed_sampler=False,  # see segment.train
    )
    if config.submit is not None:
        net.to(trainer.strategy.root_device)
        submit(lambda image: inference.class_map(net, image), data, config.split, config.competition, folder)
        return
    try:
        metrics = results.evaluate(trainer, module, data, config.split, path, config.bootstrap, config.seed)
    except BaseException:
        end_other_processes(trainer)
        raise
    if trainer.is_global_zero:
        results.report(metrics, module, dataset, folder, results.extremes(module.counts, dataset))
        if metrics["images_trained_on"]:
            share = f"{metrics['images_trained_on']} of {metrics['images']}"
            print(f"note: {share} images were trained on: the figures flatter")
        print(f"run directory  {shown(folder)}")


def offer_own_data() -> None:
    """Make the checkpoint's data configuration an option of Hydra's, ``data=checkpoint``, and the default.

    It then is as any other: ``data.root=`` changes one key of it, ``data=voc`` takes its place.
    """
    own, path = "data=checkpoint", value_of("checkpoint")
    if any(word.startswith("data=") and word != own for word in sys.argv):
        return
    if path is None:
        if any(word.startswith("data.") for word in sys.argv):
            raise SegmentError("checkpoint is missing: give checkpoint=FILE")
        return
    from segment.records.checkpoint import own_data

    node = own_data(read_once(user_path(path, "checkpoint")))
    ConfigStore.instance().store(group="data", name="checkpoint", node=node)
    if own not in sys.argv:  # DDP's child processes are given our words
        sys.argv.insert(1, own)


if __name__ == "__main__":
    entry_point("evaluate", evaluate, offer_own_data)
