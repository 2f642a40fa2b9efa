"""Checkpoints: the metadata that every one carries, and the net that comes back from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segment.cli.build import build_net, without_weights
from segment.data.classes import IGNORE, MAX_NAME, Classes
from segment.data.images import Reading
from segment.data.workers import cores
from segment.errors import SegmentError
from segment.models.file_checks import bounded_build, check_content
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.models.weights import load_file, load_state
from segment.records.hub import CONFIG
from segment.records.hub_folder import read_hub_folder
from segment.records.trust import MODELS, check_stranger_config

MAX_SETTINGS = 10_000
"""Number of values in the configurations of the net and the data; Hydra takes a minute for a million."""


RESUMED = {
    "global_step": int, "optimizer_states": list, "lr_schedulers": list, "callbacks": dict, "loops": dict,
    "folder": str,
}  # fmt: skip
"""Keys of last.ckpt that a run is resumed from, beside the weights."""


def make_metadata(
    model: Mapping[str, Any], data: Mapping[str, Any], classes: Classes, fingerprints: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the metadata of a checkpoint as plain data.

    Args:
        model, data: configurations of the net and of the data module.
        classes: names and colours.
        fingerprints: fingerprints of the training images, see ``SegmentationDataModule.training_fingerprints``.
    """
    return {
        "model": dict(model),
        "data": dict(data),
        "classes": {"names": list(classes.names), "palette": [list(colour) for colour in classes.palette]},
        "images": list(fingerprints),
    }


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of ``segment.train``, or a shared folder by its ``config.json``, as plain data.

    Raises:
        SegmentError: the file is missing, or is no checkpoint of ``segment.train``.
    """
    checkpoint = read_hub_folder(Path(path)) if Path(path).name == CONFIG else load_file(path)
    metadata = checkpoint.get(METADATA)
    complete = isinstance(metadata, dict) and {"model", "data", "classes"} <= metadata.keys()
    if not complete or not isinstance(checkpoint.get("state_dict"), dict):
        raise SegmentError(
            f"{path} is not a checkpoint of segment.train: expected a file such as checkpoints/best.ckpt"
        )
    check_content([checkpoint[METADATA][key] for key in ("model", "data")], path, MAX_SETTINGS)
    return checkpoint


def read_step(path: Path) -> int:
    """Return the number of optimiser steps after which a checkpoint was written.

    Raises:
        SegmentError: see :func:`load_checkpoint`; or training cannot resume from it, since it has weights only.
    """
    checkpoint = load_checkpoint(path)
    if any(not isinstance(checkpoint.get(key), kind) for key, kind in RESUMED.items()):
        raise SegmentError(
            f"resume: {path} has weights only; resume from last.ckpt, or start with model.weights={path}"
        )
    return int(checkpoint["global_step"])


def read_classes(checkpoint: Mapping[str, Any]) -> Classes:
    """Return the classes that a checkpoint's net was trained on.

    Raises:
        SegmentError: the names or colours are damaged.
    """
    try:
        names, palette = checkpoint[METADATA]["classes"]["names"], checkpoint[METADATA]["classes"]["palette"]
        colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
        if not 0 < len(names) < IGNORE or len({*names}) < len(names):
            raise ValueError
        if not all(len(name) <= MAX_NAME and name.isprintable() for name in names):
            raise ValueError
        if not {v for c in colours for v in c} <= set(range(256)):
            raise ValueError
        return Classes(tuple(names), colours)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SegmentError(
            "the checkpoint's class names and colours are damaged: expected up to 254 different names, and colours "
            "from 0 to 255"
        ) from None


def trained_reading(checkpoint: Mapping[str, Any]) -> Reading:
    """Return the bands and the depth of the images that a checkpoint's net was trained on.

    Raises:
        SegmentError: they are damaged.
    """
    data = checkpoint[METADATA]["data"]
    try:
        return Reading(data.get("bands"), data.get("bits"))
    except (SegmentError, TypeError, AttributeError):
        raise SegmentError("the checkpoint's data.bands or data.bits are damaged") from None


def load_net(checkpoint: Mapping[str, Any], source: str | Path, trust: Sequence[str] = ()) -> SegmentationNet:
    """Build the trained net of a checkpoint, in evaluation mode.

    Args:
        checkpoint: see :func:`load_checkpoint`.
        source: the checkpoint's path, for error messages.
        trust: names of packages whose classes may be built beside this package's.

    Raises:
        SegmentError: the configuration names a class that is neither public in ``segment.models`` nor trusted, cannot
            be built, or the weights do not fit.
    """
    config = checkpoint[METADATA]["model"]
    check_stranger_config(config, str(source), (MODELS,), trust)
    try:
        with bounded_build(checkpoint["state_dict"]):
            net = build_net(without_weights(config), len(read_classes(checkpoint)))
    except Exception as error:  # an untrusted configuration may raise anything
        raise SegmentError(f"{source}: its net cannot be built: {' '.join(str(error).split())[:200]}") from error
    load_weights(net, checkpoint, source)
    return net.eval()


def data_config(checkpoint: Mapping[str, Any], trust: Sequence[str] = ()) -> dict[str, Any]:
    """Return the configuration of the data that a checkpoint's net was trained on, to evaluate it.

    It has neither downloads nor the transforms of the training, and no more loader processes than this machine's cores.

    Raises:
        SegmentError: the configuration names a class that is neither public in ``segment.data`` nor trusted, or builds
            no data module.
    """
    config = checkpoint[METADATA]["data"]
    if isinstance(config, Mapping) and "augment" in config:
        config = {**config, "augment": []}
    check_stranger_config(config, "the checkpoint", ("segment.data",), trust)
    if "_target_" not in config or "_partial_" in config:
        raise SegmentError("the checkpoint: refused, its configuration of the data builds no data module")
    harmless: dict[str, Any] = {"download": False, "url": None, "checksum": None}
    if isinstance(workers := config.get("num_workers"), int):
        harmless["num_workers"] = min(workers, cores())  # it may be a larger machine's, or a stranger's million
    return {key: harmless.get(key, value) for key, value in config.items()}


def load_weights(net: SegmentationNet, checkpoint: Mapping[str, Any], source: str | Path) -> None:
    """Load a checkpoint's weights into a net of the same architecture.

    Raises:
        SegmentError: the weights do not fit.
    """
    state = {
        key.removeprefix("net."): value
        for key, value in checkpoint["state_dict"].items()
        if isinstance(key, str) and key.startswith("net.")
    }
    load_state(net, state, str(source))
