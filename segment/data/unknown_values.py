"""Values of masks that a data set's table lacks: their counts, and one message for all of them."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from segment.data.classes import IGNORE, Colour
from segment.data.labels import VOID, Labels, ranges
from segment.errors import SegmentError

ROWS = 40
"""Number of values that the message lists."""
TABLE_VALUES = 256
"""Number of values from which on there is no table to paste: they are no classes."""
SOFT = 4
"""Number of unknown values from which masks may be soft or lossy."""


class UnknownValues(NamedTuple):
    """Numbers of pixels by unknown value in one mask, and the number of all its pixels."""

    mask: Path
    pixels: dict[int, int]
    total: int


def count_unknown(masks: Iterable[Path], labels: Labels) -> list[UnknownValues]:
    """Return the unknown values of each mask that can be read."""

    def count(path: Path) -> list[UnknownValues]:
        with suppress(SegmentError):
            values = labels.read_values(path)
            return [UnknownValues(path, labels.translate(values)[1], values.size)]
        return []

    with ThreadPoolExecutor(8) as pool:
        return [one for found in pool.map(count, masks) for one in found]


def unknown_message(found: Sequence[UnknownValues], labels: Labels, total: int) -> str:
    """Return a table of all unknown values with their shares of ``total`` pixels, to paste into ``data.classes``.

    The first line says the problem; the lines of the table are indented.
    """
    pixels, masks, example = Counter[int](), Counter[int](), dict[int, Path]()
    for one in found:
        pixels.update(one.pixels)
        masks.update(one.pixels.keys())
        example = dict.fromkeys(one.pixels, one.mask) | example
    found_values = f"{len(pixels)} {'colour' if labels.coloured else 'label'}{'s' * (len(pixels) > 1)}"
    if labels.names:
        head = (
            f"the masks have {found_values} that data.classes does not name: give each a NAME, or {VOID} to ignore it"
        )
        if len(pixels) >= SOFT:
            head += "; data.threshold=128 reads soft or lossy masks of two classes"
    else:
        own = ranges(sorted(value for value in labels.table if isinstance(value, int)))
        head = f"the masks have {found_values} that this data set lacks, which has {own}: are they another data set's?"
    ordered = pixels.most_common()
    keys = [as_key(value, labels) + f": NAME{i}" * bool(labels.names) for i, (value, _) in enumerate(ordered, 1)]
    rows = [
        f"    {key}  # {100 * count / total:.3g} % of the pixels, masks: {masks[value]}, such as {example[value]}"
        for key, (value, count) in zip(keys[:ROWS], ordered, strict=False)
    ]
    if len(pixels) > ROWS:
        rows.append(f"    # and {len(pixels) - ROWS} more")
    if labels.names and len(labels.table) + len(pixels) <= TABLE_VALUES:
        names = {IGNORE: VOID, **dict(enumerate(labels.names))}
        known = [f"{as_key(value, labels)}:{_quoted(names[label])}" for value, label in labels.table.items()]
        table = ",".join([*known, *(key.replace(" ", "") for key in keys)])
        rows.append(f"  {shlex.quote(f'data.classes={{{table}}}')}")
    return "\n".join([head, *rows])


def _quoted(name: str) -> str:
    """Quote a name for Hydra's grammar if it has characters that mean something there."""
    return name if re.fullmatch(r"[\w-]+( [\w-]+)*", name) else json.dumps(name, ensure_ascii=False)


def as_key(value: int | Colour, labels: Labels) -> str:
    """Return a mask's value, or a colour as three numbers or as one, as a key of ``data.classes``."""
    if labels.coloured and isinstance(value, int):
        value = value >> 16, value >> 8 & 255, value & 255
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
