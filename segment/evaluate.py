"""Evaluate a checkpoint: ``python -m segment.evaluate checkpoint=RUN/checkpoints/best.ckpt split=val``."""

import sys
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from segment.config import entry_point, instantiate, quiet, run_folder, value_of
from segment.errors import SegmentError


def evaluate(config: DictConfig) -> None:
    """Figures, table and pictures of a checkpoint on a split of its own data set or of the one given."""
    from segment import results
    from segment.checkpoint import classes_of, load_checkpoint, load_net
    from segment.module import SegmentationModule

    quiet()
    path, folder = Path(config.checkpoint).expanduser(), run_folder()
    checkpoint = load_checkpoint(path)
    classes = classes_of(checkpoint)
    data = instantiate(config.data)
    if data.classes.names != classes.names:
        raise SegmentError(
            f"the checkpoint knows {len(classes)} classes ({', '.join(classes.names[:3])}, ...), "
            f"the data has {len(data.classes)} ({', '.join(data.classes.names[:3])}, ...): they must be the same"
        )
    data.prepare_data()
    dataset = data.dataset(config.split)
    if not dataset.has_masks:
        raise SegmentError(
            f"the split {config.split} has no masks: there is nothing to compare with; use segment.predict"
        )
    module = SegmentationModule(load_net(checkpoint, path), classes)
    trainer = instantiate(config.trainer, logger=False, enable_checkpointing=False, default_root_dir=str(folder))
    metrics = results.evaluate(trainer, module, data, config.split, path)
    if trainer.is_global_zero:
        results.report(metrics, module, dataset, folder)


def offer_own_data() -> None:
    """Make the checkpoint's data configuration an option of Hydra's, ``data=checkpoint``, and the default.

    It then is as any other: ``data.root=`` changes one key of it, ``data=voc`` takes its place.
    """
    own, path = "data=checkpoint", value_of("checkpoint")
    if path is None or any(word.startswith("data=") and word != own for word in sys.argv):
        return
    from segment.checkpoint import check_targets, load_checkpoint
    from segment.module import CARD

    node = load_checkpoint(path)[CARD]["data"]
    check_targets(node, "segment.data")
    ConfigStore.instance().store(group="data", name="checkpoint", node=node)
    if own not in sys.argv:  # DDP's child processes are given our words
        sys.argv.insert(1, own)


if __name__ == "__main__":
    entry_point("evaluate", evaluate, offer_own_data)
