"""Whether the values of a configuration fit the parts that are built of them, by the types that those declare."""

import inspect
import pydoc
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from segment.errors import SegmentError

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}
LISTS = (list, tuple, set, Sequence)
MISSING = "???"
"""Of a value that is yet to be given."""
OWN = ("segment.", "lightning.", "torch.optim.")
"""Beginnings of the names of parts whose types are taken at their word."""


def check_arguments(config: Any, name: str = "") -> None:
    """Look at every part of a configuration, that is at each table with a ``_target_``.

    Args:
        config: plain data.
        name: what the user calls it, empty for the whole of it.

    Raises:
        SegmentError: a value is of another type than the part declares for it.
    """
    if isinstance(config, list):
        for item in config:
            check_arguments(item, name)
    if not isinstance(config, dict):
        return
    hints = _hints(str(config.get("_target_")))
    for key, value in config.items():
        full = f"{name}.{key}" if name else str(key)
        check_arguments(value, full)
        if key in hints and value != MISSING:
            check_value(full, value, hints[key])


def check_value(name: str, value: Any, kind: Any) -> None:
    """Whether a value fits a type.

    Raises:
        SegmentError: it does not; ``name`` is what the user calls it.
    """
    if not fits(value, kind):
        raise SegmentError(f"{name}={as_typed(value)}: expected {told(kind)}")


def check_seed(seed: Any) -> None:
    """A seed for everything that draws at random.

    Raises:
        SegmentError: NumPy has no such seed.
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise SegmentError(f"seed={as_typed(seed)}: expected a whole number from 0 to {2**32 - 1}")


def as_typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_typed, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _hints(target: str) -> dict[str, Any]:
    """The types of a part's arguments; empty where it can't be found, which Hydra tells better, or is a stranger's,
    whose types may be wrong."""
    if not target.startswith(OWN):
        return {}
    try:
        part: Any = pydoc.locate(target)
        # A class may hand the arguments that it does not name on to those that it is made of.
        made_of = [part]
        if inspect.isclass(part):
            made_of = [vars(one)["__init__"] for one in reversed(inspect.getmro(part)) if "__init__" in vars(one)]
        return {name: kind for one in made_of for name, kind in get_type_hints(inspect.unwrap(one)).items()}
    except Exception:  # importing it runs anything
        return {}


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value, as YAML has it, is of a type; of types that YAML has no values for, anything is."""
    if isinstance(value, Mapping) and "_target_" in value:  # it will be something else
        return True
    return any(_fits_one(value, choice) for choice in _choices(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        return number
    if kind is int:
        return number and float(value).is_integer()  # 1e5 is a float to YAML
    if kind is bool:
        return isinstance(value, bool) or (number and value in {0, 1})
    if kind in {str, NoneType}:
        return isinstance(value, kind)
    if get_origin(kind) in LISTS:
        items = get_args(kind) or (Any,)
        return isinstance(value, Sequence) and not isinstance(value, str) and all(fits(v, items[0]) for v in value)
    return True


def told(kind: Any) -> str:
    """A type in words, without what YAML has no values for."""
    return " or ".join(dict.fromkeys(filter(None, map(_told_one, _choices(kind)))))


def _told_one(kind: Any) -> str:
    if get_origin(kind) in LISTS:
        return f"a list (each {told((get_args(kind) or (Any,))[0])})"
    return WORDS.get(kind, "")
