"""JSON files of runs and shared folders, perhaps untrusted: bounded in size and depth, and checked against a type."""

import functools
import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from segment.errors import SegmentError

MAX_BYTES = 2_000_000
"""Size of the largest file of a run folder that is read; they have some thousands of bytes."""

MAX_JSON_VALUES = 1_000_000
"""Number of values, commas and brackets in a file; Python needs up to a hundred bytes for each."""


@functools.cache
def _adapter(kind: Any) -> Any:
    """Return pydantic's validator of a type, which takes milliseconds to make."""
    import pydantic  # here, so that --help need not wait for it

    return pydantic.TypeAdapter(kind)


def read_json(path: Path, kind: Any, max_bytes: int = MAX_BYTES, **parsing: Any) -> Any:
    """Read a JSON file as a value of the type ``kind``, by pydantic's rules.

    Args:
        path: path of the file.
        kind: type of the value.
        max_bytes: size of the largest file that is read.
        parsing: further arguments of ``json.loads``.

    Raises:
        SegmentError: the file is missing, too large, or holds something else.
    """
    import pydantic

    try:
        if path.stat().st_size > max_bytes:
            raise SegmentError(f"cannot read {path}: it is larger than {max_bytes:,} bytes")
        content = path.read_bytes()
        if sum(map(content.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
            raise SegmentError(f"cannot read {path}: it has more than {MAX_JSON_VALUES:,} values")
        value = json.loads(content, **parsing)  # pydantic's own parser refuses paths that are not UTF-8
        return _adapter(kind).validate_python(value, strict=not is_dataclass(kind))
    except OSError as error:
        raise SegmentError(f"cannot read {path}: {error.strerror}") from None
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))[:100]
        raise SegmentError(f"cannot read {path}: {place}{': ' * bool(place)}{fault['msg'][:200]}") from None
    except (ValueError, RecursionError) as error:
        raise SegmentError(f"cannot read {path}: Invalid JSON: {str(error)[:200]}") from None
