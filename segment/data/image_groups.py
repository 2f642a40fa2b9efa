"""Groups of images that are not independent: the frames of a video, the images of a patient or of a scene."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segment.data.file_names import nfc
from segment.errors import SegmentError
from segment.files import first_names, readable_file


def group_images(
    ids: Sequence[str], pattern: str | None = None, file: str | None = None, block: int | None = None
) -> list[str] | None:
    """Return the group of each image; None if all images are independent.

    Args:
        ids: of the images.
        pattern: regular expression, whose first group is found in each id.
        file: CSV with the id and the group of each image in a row.
        block: number of images in a group, consecutive by their ids with numbers in order.

    Raises:
        SegmentError: more than one rule is given, or one does not fit the ids.

    Example:
        >>> group_images(["a_1", "a_2", "b_1"], pattern="^([a-z])_")
        ['a', 'a', 'b']
    """
    given = {"pattern": pattern, "file": file, "block": block}
    if len(chosen := [key for key, value in given.items() if value is not None]) > 1:
        raise SegmentError(f"data.groups has {' and '.join(chosen)}: give one of them")
    if pattern is not None:
        return _by_pattern(ids, pattern)
    if file is not None:
        return _by_file(ids, readable_file(file, "data.groups.file"))
    if block is None:
        return None
    if type(block) is not int or block < 1:
        raise SegmentError(f"data.groups.block={block}: expected a number of images from 1")
    order = sorted(
        dict.fromkeys(ids), key=lambda id: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", id)]
    )
    blocks = {id: f"block {position // block}" for position, id in enumerate(order)}
    return [blocks[id] for id in ids]


def shared_groups(first: Sequence[str], second: Sequence[str], **rules: Any) -> str:
    """Return which groups have images in both of two splits, as words for a message; empty if none.

    Args:
        first, second: ids of the images. Those of a training split need not fit the rules, which no training needs.
        rules: see :func:`group_images`. Blocks are counted in each split, so that none is in both.
    """
    if rules.get("block") is not None:
        return ""
    try:
        shared = sorted({*(group_images(first, **rules) or ())} & {*(group_images(second, **rules) or ())})
    except SegmentError:
        return ""
    way = "write lists of the splits, or set data.folds, which keep groups together"
    return f"images of the groups {first_names(shared)}: {way}" if shared else ""


def _by_pattern(ids: Sequence[str], pattern: str) -> list[str]:
    try:
        rule = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise SegmentError(f"data.groups.pattern={pattern}: it is no regular expression: {error}") from None
    if not rule.groups:
        raise SegmentError(f"data.groups.pattern={pattern}: expected a group in parentheses, such as '^([^_]*)_'")
    groups = []
    for id in ids:
        match = rule.search(id)
        if match is None or match[1] is None:
            raise SegmentError(f"data.groups.pattern={pattern}: it finds no group in the image id {id!r}")
        groups.append(match[1])
    return groups


def _by_file(ids: Sequence[str], path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise SegmentError(f"data.groups.file={path}: it cannot be read: {error}") from None
    groups: dict[str, str] = {}
    for row in rows:
        if len(row) != 2 or groups.setdefault(nfc(row[0]), row[1]) != row[1]:
            raise SegmentError(
                f"data.groups.file={path}: expected 'ID,GROUP' once for each image, got {','.join(row)!r}"
            )
    if missing := [id for id in ids if nfc(id) not in groups]:
        raise SegmentError(f"data.groups.file={path}: {len(missing)} images have no group, the first is {missing[0]!r}")
    return [groups[nfc(id)] for id in ids]
