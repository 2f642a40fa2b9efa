"""The objects that ``_target_`` names."""

import inspect
import re
from typing import Any

from hydra._internal.utils import _locate

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
        sources = [vars(one)["__init__"] for one in inspect.getmro(part) if "__init__" in vars(one)]
    names: set[str] = set()
    for source in sources:
        try:
            parameters = inspect.signature(source).parameters.values()
        except (TypeError, ValueError):  # written in C
            continue
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    return names - {"self"}


def is_dotted_name(text: Any) -> bool:
    """Return whether a value is the name of a package or of an object in one, such as ``mylab.nets``."""
    return isinstance(text, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text) is not None
