"""CVAT's table of classes and colours, ``labelmap.txt``."""

import re
from collections.abc import Iterable
from pathlib import Path

from segment.data.classes import voc_palette
from segment.errors import SegmentError
from segment.files import kind


def labelmap_names(names: Iterable[str]) -> dict[str, str]:
    """Return the form of each name for ``labelmap.txt``, where ":" ends a name and "#" begins a comment.

    Raises:
        SegmentError: two names would be equal.

    Example:
        >>> labelmap_names(["person:walking", "#1", "dog"])
        {'person:walking': 'person-walking', '#1': '-1', 'dog': 'dog'}
    """
    forms: dict[str, str] = {}
    for name in names:
        form = re.sub("^#|:", "-", name)
        if other := next((one for one, known in forms.items() if known == form), None):
            raise SegmentError(f"{other!r} and {name!r} would both be {form!r} in labelmap.txt: rename one of them")
        forms[name] = form
    return forms


def read_labelmap(path: Path) -> dict[str, str]:
    """Return the names by colour, "RED/GREEN/BLUE", of lines ``name:red,green,blue:parts:actions``.

    A line that begins with # is a comment. A name without a colour has the colour of its position in VOC's palette.

    Raises:
        SegmentError: the file is no UTF-8 text, a line has no name or no colour, or two lines have one colour.
    """
    if not path.is_file():  # reading a named pipe would wait for ever
        raise SegmentError(f"cannot read {path}: it is {kind(path)}, not a file")
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise SegmentError(f"{path} is no UTF-8 text: save it as UTF-8") from None
    entries = [line for line in lines if line and not line.startswith("#")]
    table: dict[str, str] = {}
    for entry, default in zip(entries, voc_palette(len(entries)), strict=True):
        name, _, rest = entry.partition(":")
        numbers = [part.strip() for part in rest.partition(":")[0].split(",")]
        if numbers == [""]:
            numbers = [str(value) for value in default]
        if not name.strip() or len(numbers) != 3 or not all(n.isdecimal() and int(n) <= 255 for n in numbers):
            raise SegmentError(f"{path}: expected NAME:RED,GREEN,BLUE:: in each line, but one reads {entry!r}")
        colour = "/".join(str(int(number)) for number in numbers)
        if colour in table:
            raise SegmentError(f"{path}: {table[colour]!r} and {name!r} have one colour, {colour}")
        table[colour] = name.strip()
    return table
