"""JSON files of a run folder, which may be untrusted: bounded in size and depth, and checked against a type."""

import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from segment.errors import SegmentError

MAX_BYTES = 2_000_000
"""Size of the largest file that is read; they have some thousands of bytes."""


def read_json(path: Path, kind: Any) -> Any:
    """Read a JSON file as a value of the type ``kind``, by pydantic's rules.

    Raises:
        SegmentError: the file is missing, too large, or holds something else.
    """
    import pydantic  # here, so that --help need not wait for it

    try:
        if path.stat().st_size > MAX_BYTES:
            raise SegmentError(f"cannot read {path}: it is larger than {MAX_BYTES:,} bytes")
        value = json.loads(path.read_bytes())  # pydantic's own parser refuses paths that are not UTF-8
        return pydantic.TypeAdapter(kind).validate_python(value, strict=not is_dataclass(kind))
    except OSError as error:
        raise SegmentError(f"cannot read {path}: {error.strerror}") from None
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))[:100]
        raise SegmentError(f"cannot read {path}: {place}{': ' * bool(place)}{fault['msg'][:200]}") from None
    except (ValueError, RecursionError) as error:
        raise SegmentError(f"cannot read {path}: Invalid JSON: {str(error)[:200]}") from None
