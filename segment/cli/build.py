"""Building the parts that a configuration names by ``_target_``."""

import re
import sys
from collections.abc import Mapping
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from segment.cli.config import flatten, plain
from segment.cli.suggestions import close_name
from segment.cli.targets import argument_names, locate
from segment.cli.value_types import MISSING, check_arguments
from segment.cli.versions import HAS_WHITELIST
from segment.errors import SegmentError

PAIR = "segment.models.SegmentationNet"
"""Class of a net whose configuration has an encoder and a decoder."""
WRAPPED = ("normalization", "weights", "size_divisor", "min_size", "stride")
"""Keys of a net of the user's own that its class need not take: they are those of :class:`segment.models.WholeNet`."""
WHITELIST = ("segment.*", "torch.*", "torchvision.*", "timm.*", "segmentation_models_pytorch.*", "transformers.*")
"""Packages whose objects a part of this package may return."""


def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
    """Build a part as ``hydra.utils.instantiate`` does, and raise the part's own error in place of Hydra's.

    The part gets plain lists and dictionaries: it may keep them in a checkpoint, which holds plain data.

    Raises:
        SegmentError: a value is missing, is of another type than the part declares, or the part does not take it.
    """
    return _build(_checked(plain(config), _full_key(config)), *args, **kwargs)


def _full_key(config: Any) -> str:
    return config._get_full_key(None) if OmegaConf.is_config(config) else ""


def _checked(table: Any, name: str) -> Any:
    """Return plain data with each value in the type that its part declares; ``name`` is its key."""
    checked = check_arguments(table, name)
    for key in (f"{name}.{key}".strip(".") for key, value in flatten(checked) if value == MISSING):
        raise SegmentError(f"{key} is missing: give {key}=VALUE on the command line")
    return checked


def _build(checked: Any, *args: Any, **kwargs: Any) -> Any:
    """Build a part from plain data whose types were checked."""
    options: dict[str, Any] = {"_convert_": "all"} if isinstance(checked, Mapping) else {}
    if HAS_WHITELIST:
        options["_execution_whitelist_"] = sorted(_whitelist(checked))
    try:
        return hydra.utils.instantiate(checked, *args, **options, **kwargs)
    except Exception as error:  # Hydra 1.3 wraps the error of a part, and 1.4 does not
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if cause is None or isinstance(cause, InstantiationException):
            raise SegmentError(" ".join(str(error).split())) from error
        kinds: tuple[type[Exception], ...] = (TypeError, ValueError, ImportError)  # an argument that is not taken
        if str(checked.get("_target_")).startswith("lightning."):
            kinds = (*kinds, RuntimeError)  # such as torch.device("foo")
        if isinstance(cause, kinds):
            part = str(checked.get("_target_", "configuration")).rpartition(".")[2]
            message = f"{part}: {' '.join(str(cause).split())}"
            unknown = re.search(r"unexpected keyword argument '(\w+)'", message)
            known = {key.rpartition(".")[2] for key, _ in flatten(checked)} - {unknown and unknown[1]}
            close = close_name(unknown[1], sorted(known)) if unknown else ""
            raise SegmentError(message + f": did you mean {close}?" * (close in known)) from error
        if not isinstance(cause, SegmentError):  # a fault in the part's code, whose traceback is shown
            text = "\n".join([str(error), *getattr(cause, "__notes__", ())])
            named = re.match(r"Error in call to target '([^']+)'", text)  # Hydra 1.3 names the part within this one
            key = re.search(r"^full_key: (\S+)", text, re.MULTILINE)  # and 1.4 its key
            inner = OmegaConf.select(OmegaConf.create(checked), key[1]) if key else checked
            part = named[1] if named else (inner or checked).get("_target_")
            cause.add_note(f"error: {part} fails while it is built, see above")
        raise cause from None


def _whitelist(checked: Any) -> set[str]:
    """Return what a configuration may build with Hydra 1.4: all in :data:`WHITELIST` and in the packages it names.

    A part may return an object of its package under another name, which Hydra checks, too.
    """
    values = checked.values() if isinstance(checked, Mapping) else checked if isinstance(checked, list) else ()
    target = str(checked.get("_target_", "")) if isinstance(checked, Mapping) else ""
    package = target.partition(".")[0]
    own = {target if package in sys.stdlib_module_names else f"{package}.*"} if package else set()
    return own.union(WHITELIST, *map(_whitelist, values))


def build_later(config: Any) -> Any:
    """Return the function that builds a part when its other arguments are known; its YAML needs no ``_partial_``."""
    checked = _checked(plain(config), _full_key(config))
    return _build({**checked, "_partial_": True} if checked else checked)


def build_net(config: Any, num_classes: int) -> Any:
    """Build a net of a pair of encoder and decoder, or of any module, which becomes a :class:`segment.models.WholeNet`.

    Args:
        config: table of the net's class, by default a pair, and its arguments; ``num_classes`` is added.

    Raises:
        SegmentError: the class does not take an argument, or builds no module.
    """
    table = _checked({"_target_": PAIR, **plain(config)}, _full_key(config))
    if isinstance(table.get("decoder"), Mapping):
        table["decoder"] = {**table["decoder"], "_partial_": True}
    taken = argument_names(table["_target_"])
    rest = {key: table.pop(key) for key in WRAPPED if key in table and key not in taken}
    net = _build(table, num_classes=num_classes)
    from torch import nn  # torch takes seconds

    from segment.models.net import SegmentationNet
    from segment.models.whole import WholeNet

    if not isinstance(net, nn.Module):
        raise SegmentError(f"{table['_target_']} builds a {type(net).__name__}, expected a torch.nn.Module")
    if not isinstance(net, SegmentationNet):
        kinds = check_arguments({"_target_": "segment.models.WholeNet", **rest}, "model")
        return WholeNet(net, num_classes, **{key: kinds[key] for key in rest})
    if wrong := [key for key, value in rest.items() if value not in (None, net.normalization)]:
        raise SegmentError(f"model.{wrong[0]}: {table['_target_']} does not take it")
    return net


def build_metrics(config: Any, num_classes: int) -> dict[str, Any]:
    """Build a table of metrics by name; a class gets ``num_classes`` if it takes that. A name with null is left out.

    Raises:
        SegmentError: an entry is no table with ``_target_``, or a class does not take an argument.
    """
    metrics = {}
    for name, table in (plain(config) or {}).items():
        if table is None:
            continue
        if not isinstance(table, Mapping) or "_target_" not in table:
            raise SegmentError(f"metrics.{name} is no metric: expected a table with _target_, its class")
        takes = "num_classes" in argument_names(table["_target_"])
        table = {**({"num_classes": num_classes} if takes else {}), **table}
        if table.get("validate_args") is False:  # then torchmetrics leaves its arguments unchecked, too
            instantiate({**table, "validate_args": True})
        metrics[name] = instantiate(table)
    return metrics


def without_weights(config: Any) -> Any:
    """Return a configuration whose parts load no weights of their own."""
    if isinstance(config, list | tuple):
        return [without_weights(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    content = {key: without_weights(value) for key, value in config.items()}
    taken = argument_names(content["_target_"]) if "_target_" in content else set()
    sources = getattr(locate(content["_target_"]), "sources", ()) if "_target_" in content else ()
    return {**content, **{key: None for key in ("weights", *sources) if key in {*taken, *content}}}
