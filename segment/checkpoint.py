"""What a checkpoint says of itself, and how a net comes back from it."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segment.config import instantiate
from segment.data.classes import Classes
from segment.errors import SegmentError
from segment.files import whole_file
from segment.models.net import SegmentationNet
from segment.models.weights import load_file, load_state
from segment.module import CARD


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all.

    Lightning writes below /tmp and moves, which is a copy where /tmp is another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole_file(Path(path), "wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's writer puts an error of its own in the place of a full disk's
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def make_card(model: Mapping[str, Any], data: Mapping[str, Any], classes: Classes) -> dict[str, Any]:
    """Plain data for a checkpoint: the configurations of model and data, class names and colours."""
    return {
        "model": dict(model),
        "data": dict(data),
        "classes": {"names": list(classes.names), "palette": [list(colour) for colour in classes.palette]},
    }


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, as plain data.

    Raises:
        SegmentError: the file is missing, or is no checkpoint of ours.
    """
    checkpoint = load_file(path)
    card = checkpoint.get(CARD)
    if not isinstance(card, dict) or not {"model", "data", "classes"} <= card.keys() or "state_dict" not in checkpoint:
        raise SegmentError(
            f"{path} is not a checkpoint of segment.train: expected a file such as checkpoints/best.ckpt"
        )
    return checkpoint


def steps_of(path: Path) -> int:
    """How many steps a checkpoint that training can go on from has had.

    Raises:
        SegmentError: see :func:`load_checkpoint`; or it has weights and nothing else.
    """
    checkpoint = load_checkpoint(path)
    if "optimizer_states" not in checkpoint:
        raise SegmentError(f"resume: {path} has weights only; go on from last.ckpt, or start with model.weights={path}")
    return int(checkpoint["global_step"])


def classes_of(checkpoint: Mapping[str, Any]) -> Classes:
    """The classes that the checkpoint's net was trained on."""
    classes = checkpoint[CARD]["classes"]
    return Classes(tuple(classes["names"]), tuple((r, g, b) for r, g, b in classes["palette"]))


def load_net(checkpoint: Mapping[str, Any], source: str | Path) -> SegmentationNet:
    """The trained net, in evaluation mode.

    Raises:
        SegmentError: the configuration wants anything but parts of ``segment.models``, or weights do not fit.
    """
    config = dict(checkpoint[CARD]["model"])
    check_targets(config, "segment.models")
    config |= {"weights": None, "encoder": {**config["encoder"], "weights": None}}  # they are in the checkpoint
    net = instantiate(config, num_classes=len(checkpoint[CARD]["classes"]["names"]))
    load_weights(net, checkpoint, source)
    return net.eval()


def load_weights(net: SegmentationNet, checkpoint: Mapping[str, Any], source: str | Path) -> None:
    """Put a checkpoint's weights into a net of the same architecture.

    Raises:
        SegmentError: they do not fit.
    """
    state = {k.removeprefix("net."): v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")}
    load_state(net, state, str(source))


def check_targets(config: Any, package: str) -> None:
    """A file from elsewhere may name classes of ``package`` and nothing else: building them runs code.

    Raises:
        SegmentError: another target is named, or one that is no class defined there.
    """
    for target in _targets(config):
        module, _, name = str(target).rpartition(".")
        found = None
        if module.startswith(f"{package}."):
            try:
                found = getattr(importlib.import_module(module), name, None)
            except ImportError:
                found = None
        if not isinstance(found, type) or not found.__module__.startswith(f"{package}."):
            raise SegmentError(f"refused: the checkpoint wants to build {target}; expected a class of {package}")


def _targets(config: Any) -> Iterator[Any]:
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)
