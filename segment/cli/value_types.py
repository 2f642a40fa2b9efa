"""Checks of a configuration's values against the types that the parts declare for their arguments."""

import functools
import inspect
import json
import math
import pydoc
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from segment.errors import SegmentError

DESCRIPTIONS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}
LISTS = (list, tuple, set, Sequence)
MISSING = "???"
"""OmegaConf's placeholder for a value that the user has to give."""
CHECKED = ("segment.", "lightning.", "torch.optim.")
"""Packages whose declared types are relied on; those of other packages may be wrong."""


def check_arguments(config: Any, name: str = "") -> Any:
    """Check every table with a ``_target_`` in a configuration.

    Args:
        config: plain data.
        name: the configuration's dotted key, empty for the whole configuration.

    Returns:
        The configuration with each value in the declared type: ``1e1`` for an integer is 10.

    Raises:
        SegmentError: a value is of another type than the part declares for it, or a number is not finite.
    """
    if isinstance(config, list):
        return [check_arguments(item, name) for item in config]
    if isinstance(config, float) and not math.isfinite(config):
        raise SegmentError(f"{name}={as_typed(config)}: expected a finite number")
    if not isinstance(config, dict):
        return config
    types = _argument_types(str(config.get("_target_")))
    checked = {}
    for key, value in config.items():
        full = f"{name}.{key}" if name else str(key)
        value = check_arguments(value, full)
        checked[key] = check_value(full, value, types[key]) if key in types and value != MISSING else value
    return checked


def check_value(name: str, value: Any, kind: Any) -> Any:
    """Return a value in the type ``kind``; types that YAML has no values for are not checked.

    Args:
        name: the key that the error message names.

    Raises:
        SegmentError: the value is of another type.
    """
    if _holds_part(value):
        return value
    adapter = _adapter(kind)
    if adapter is None:
        return value
    # YAML reads 1e5 as a float, and 0 and 1 may stand for false and true.
    for candidate in (value, _whole_floats_as_int(value), bool(value) if value in (0, 1) else value):
        try:
            return adapter.validate_json(json.dumps(candidate), strict=True)
        except ValueError:
            continue
    raise SegmentError(f"{name}={as_typed(value)}: expected {describe_type(kind)}")


def check_seed(seed: Any) -> None:
    """Check the seed of the random numbers.

    Raises:
        SegmentError: NumPy does not take such a seed.
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise SegmentError(f"seed={as_typed(seed)}: expected a whole number from 0 to {2**32 - 1}")


def as_typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_typed, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_type(kind: Any) -> str:
    """Return a type in plain English, without parts that YAML has no values for."""
    if get_origin(kind) in {Union, UnionType}:
        return " or ".join(dict.fromkeys(filter(None, map(describe_type, get_args(kind)))))
    if get_origin(kind) is Literal:
        return " or ".join(map(as_typed, get_args(kind)))
    if get_origin(kind) in LISTS:
        each = describe_type((get_args(kind) or (Any,))[0])
        return f"a list (each {each})" if each else "a list"
    return DESCRIPTIONS.get(kind, "")


@functools.cache
def _adapter(kind: Any) -> Any:
    """Return pydantic's validator of a type; None where the type has no schema."""
    import pydantic  # here, so that --help need not wait for it

    try:
        return pydantic.TypeAdapter(kind)
    except (pydantic.PydanticUserError, TypeError, NameError):
        return None


def _holds_part(value: Any) -> bool:
    """Return whether a value will be replaced by a part that is built."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_part, value.values()))
    return isinstance(value, list) and any(map(_holds_part, value))


def _whole_floats_as_int(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole_floats_as_int(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _argument_types(target: str) -> dict[str, Any]:
    """Return the declared types of a part's arguments; empty for parts that are not checked or not found."""
    if not target.startswith(CHECKED):
        return {}
    try:
        part: Any = pydoc.locate(target)
        # A class may pass arguments that it does not name itself on to its base classes.
        sources = [part]
        if inspect.isclass(part):
            sources = [vars(one)["__init__"] for one in reversed(inspect.getmro(part)) if "__init__" in vars(one)]
        return {name: kind for one in sources for name, kind in get_type_hints(inspect.unwrap(one)).items()}
    except Exception:  # importing the part may run anything; Hydra reports what cannot be found
        return {}
