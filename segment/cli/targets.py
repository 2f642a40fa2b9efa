"""The objects that ``_target_`` names."""

import inspect
import re
from collections.abc import Container, Sequence
from typing import Any

from hydra._internal.utils import _locate
from omegaconf import DictConfig, OmegaConf, open_dict

from segment.cli.overrides import override_key
from segment.errors import SegmentError


def locate(target: str) -> Any:
    """Return the object that a dotted name refers to, as Hydra finds it.

    Hydra prefers an attribute to a module of the same name, and so does this function: an object that is checked is the
    object that will be built.

    Raises:
        SegmentError: there is no such object, or its module cannot be imported.
    """
    try:
        return _locate(target)
    except Exception as error:  # importing a module may raise anything
        cause = error.__cause__ or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:200]
        raise SegmentError(
            f"cannot import {target[:100]} ({reason}): run the command in the folder that holds that package, or "
            "install it"
        ) from error


def real_name(part: Any) -> str:
    """Return the module and the name under which an object was defined; empty for one that has none."""
    module, name = (getattr(part, key, None) for key in ("__module__", "__qualname__"))
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""


def argument_names(target: str) -> set[str]:
    """Return the names of a part's arguments, for a class also those of its base classes, which it may pass on to."""
    part = locate(target)
    sources = [part]
    if inspect.isclass(part):
        sources = [
            vars(one)[key] for one in inspect.getmro(part) for key in ("__init__", "__new__") if key in vars(one)
        ]
    names: set[str] = set()
    for source in sources:
        try:
            parameters = inspect.signature(source).parameters.values()
        except (TypeError, ValueError):  # written in C
            continue
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return names - {"self", "cls"}


def drop_foreign_keys(config: DictConfig, overrides: Sequence[str]) -> None:
    """Drop keys of an option that belong to its own class from each table that the command line gives another class.

    After ``loss._target_=mylab.DiceLoss``, only those keys of the loss are left that ``DiceLoss`` takes, and those that
    the command line sets.

    Args:
        config: the composed configuration, which is changed.
        overrides: of the command line.
    """
    typed = _typed_keys(overrides)
    for name in (key.removesuffix("._target_") for key in typed if key.endswith("._target_")):
        _drop_keys(OmegaConf.select(config, name), name, typed, ())


def drop_preset_keys(config: DictConfig, bare: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Drop keys that a preset adds to an option, where the command line chooses another option that does not take them.

    A preset may set ``loss.class_weights`` for its own loss. With ``loss=dice`` beside it, that key is left out.

    Args:
        config: the composed configuration, which is changed.
        bare: the configuration of the chosen options alone, without the preset.
        overrides: of the command line.

    Returns:
        The dotted keys that were dropped.
    """
    typed = _typed_keys(overrides)
    dropped = []
    for name in dict.fromkeys(typed):
        table, own = OmegaConf.select(config, name), OmegaConf.select(bare, name)
        if isinstance(table, DictConfig) and "_target_" in table and isinstance(own, DictConfig):
            dropped += _drop_keys(table, name, typed, own)
    return dropped


def _typed_keys(overrides: Sequence[str]) -> list[str]:
    return [override_key(override).lstrip("+") for override in overrides]


def _drop_keys(table: DictConfig, name: str, typed: Sequence[str], kept: Container[str]) -> list[str]:
    """Drop the keys of a table that its class does not take, unless they are typed or kept; return them, dotted."""
    taken = argument_names(table["_target_"])
    dropped = []
    for key in [str(key) for key in table if key not in taken and key not in kept and not str(key).startswith("_")]:
        if not any(f"{one}.".startswith(f"{name}.{key}.") for one in typed):
            with open_dict(table):
                del table[key]
            dropped.append(f"{name}.{key}")
    return dropped


def is_dotted_name(text: Any) -> bool:
    """Return whether a value is the name of a package or of an object in one, such as ``mylab.nets``."""
    return isinstance(text, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text) is not None
