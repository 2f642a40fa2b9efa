"""What a checkpoint says of itself, and how a net comes back from it."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from segment.cli.config import instantiate
from segment.data.classes import Classes
from segment.errors import SegmentError
from segment.files import whole_file
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.models.weights import load_file, load_state


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


def make_card(
    model: Mapping[str, Any], data: Mapping[str, Any], classes: Classes, images: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain data for a checkpoint: the configurations of model and data, class names and colours.

    Args:
        images: what the training images are known by, see ``SegmentationDataModule.training_marks``.
    """
    return {
        "model": dict(model),
        "data": dict(data),
        "classes": {"names": list(classes.names), "palette": [list(colour) for colour in classes.palette]},
        "images": list(images),
    }


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of ours, as plain data.

    Raises:
        SegmentError: the file is missing, or is no checkpoint of ours.
    """
    checkpoint = load_file(path)
    card = checkpoint.get(METADATA)
    known = isinstance(card, dict) and {"model", "data", "classes"} <= card.keys()
    if not known or not isinstance(checkpoint.get("state_dict"), dict):
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
    """The classes that the checkpoint's net was trained on.

    Raises:
        SegmentError: their names or colours are none.
    """
    try:
        names, palette = checkpoint[METADATA]["classes"]["names"], checkpoint[METADATA]["classes"]["palette"]
        colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
        if not all(name.isprintable() for name in names) or len({*names}) < len(names):
            raise ValueError
        if not {v for c in colours for v in c} <= set(range(256)):
            raise ValueError
        return Classes(tuple(names), colours)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SegmentError(
            "the checkpoint's class names and colours are damaged: expected different names, and values from 0 to 255"
        ) from None


def load_net(checkpoint: Mapping[str, Any], source: str | Path) -> SegmentationNet:
    """The trained net, in evaluation mode.

    Raises:
        SegmentError: the configuration wants anything but parts of ``segment.models``, or is none, or weights do not
            fit.
    """
    config = checkpoint[METADATA]["model"]
    check_targets(config, "segment.models")
    try:
        net = instantiate(_without_weights(config), num_classes=len(classes_of(checkpoint)))
    except SegmentError:
        raise
    except Exception as error:  # what somebody wrote into the file may raise anything
        raise SegmentError(f"{source}: its net can't be built: {' '.join(str(error).split())}") from error
    if not isinstance(net, SegmentationNet):
        raise SegmentError(f"{source}: its configuration builds a {type(net).__name__}, and no net")
    load_weights(net, checkpoint, source)
    return net.eval()


def own_data(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the data that the checkpoint was trained with, without what it says of downloads.

    Raises:
        SegmentError: it wants anything but parts of ``segment.data``.
    """
    config = checkpoint[METADATA]["data"]
    check_targets(config, "segment.data")
    harmless = {"download": False, "url": None, "checksum": None}
    return {key: harmless.get(key, value) for key, value in config.items()}


def load_weights(net: SegmentationNet, checkpoint: Mapping[str, Any], source: str | Path) -> None:
    """Put a checkpoint's weights into a net of the same architecture.

    Raises:
        SegmentError: they do not fit.
    """
    state = {
        key.removeprefix("net."): value
        for key, value in checkpoint["state_dict"].items()
        if isinstance(value, Tensor) and key.startswith("net.")
    }
    load_state(net, state, str(source))


def check_targets(config: Any, package: str) -> None:
    """A configuration from elsewhere may hold plain values and name classes of ``package``: building them runs code.

    Raises:
        SegmentError: it names another target, or one that is no class defined there; it refers to the environment
            (``${oc.env:HOME}``); it is no dictionary.
    """
    if not isinstance(config, Mapping):
        raise SegmentError(f"refused: the checkpoint's configuration is a {type(config).__name__}")
    for key, value in _entries(config):
        if key == "_target_":
            _check_target(value, package)
        elif isinstance(value, str) and "${" in value:
            raise SegmentError(f"refused: the checkpoint wants {value} to be filled in; expected plain values")
        elif not isinstance(value, str | int | float | None):
            raise SegmentError(f"refused: the checkpoint's configuration holds a {type(value).__name__}")


def _without_weights(config: Any) -> Any:
    """A configuration whose parts load and download no weights: they are in the checkpoint."""
    if isinstance(config, list | tuple):
        return [_without_weights(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    content = {key: _without_weights(value) for key, value in config.items()}
    module, _, name = str(config.get("_target_", "")).rpartition(".")
    taken = signature(getattr(importlib.import_module(module), name)).parameters if name else {}
    return {**content, "weights": None} if "weights" in {*taken, *content} else content


def _check_target(target: Any, package: str) -> None:
    module, _, name = str(target).rpartition(".")
    found = None
    if isinstance(target, str) and f"{module}.".startswith(f"{package}."):
        with suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or not found.__module__.startswith(f"{package}."):
        raise SegmentError(f"refused: the checkpoint wants to build {target}; expected a class of {package}")


def _entries(config: Any, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """All values within dictionaries and lists, with their keys; also the keys, which are values, too."""
    if isinstance(config, Mapping) and key != "_target_":
        for name, value in config.items():
            yield None, name
            yield from _entries(value, name)
    elif isinstance(config, list | tuple) and key != "_target_":
        for value in config:
            yield from _entries(value)
    else:
        yield key, config
