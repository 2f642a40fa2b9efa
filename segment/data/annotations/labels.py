"""Classes of a data set by the labels that its annotators wrote."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segment.data.classes import BACKGROUND
from segment.data.labels import VOID
from segment.errors import SegmentError


def class_of_labels(
    found: Iterable[str], classes: Sequence[str] | Mapping[str, Any] | None, others: str | None
) -> dict[str, str]:
    """Return the class of each label; labels without a class are background, void or refused.

    Args:
        found: the labels.
        classes: names of labels, a table from class to its labels, ``{person: [man, woman], dog: dog}``, or None for a
            class of each label, sorted by name.
        others: "background" or "void" for labels that ``classes`` does not have; None to refuse them.

    Raises:
        SegmentError: there is no label, a label has no class or two, or an argument is of another kind.
    """
    if others not in {None, BACKGROUND, VOID}:
        raise SegmentError(f"data.others={others}: expected background or void, or null")
    labels = sorted({*found} - {BACKGROUND, VOID})
    if classes is None:
        if not labels:
            raise SegmentError("no object with a label was found: is it another format's folder?")
        return {label: label for label in labels}
    table: dict[str, str] = {}
    for name, own in class_entries(classes):
        for label in own:
            if table.setdefault(label, name) != name:
                raise SegmentError(f"data.classes gives the label {label!r} to {table[label]!r} and to {name!r}")
    unknown = [label for label in labels if label not in table]
    if unknown and others is None:
        shown = ", ".join(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
        raise SegmentError(
            f"data.classes lacks labels that were found: {shown}; add them, or set data.others=background or void"
        )
    return {**table, **dict.fromkeys(unknown, others or VOID)}


def class_entries(classes: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return each class with its labels."""
    if isinstance(classes, str):
        raise SegmentError(f"data.classes={classes}: expected a list [{classes},...] or a table {{{classes}:[LABEL]}}")
    if not isinstance(classes, Mapping):
        return [(str(name), [str(name)]) for name in classes]
    own = [(str(name), [name] if label in (None, []) else label) for name, label in classes.items()]
    return [
        (name, [str(one) for one in (label if isinstance(label, list | tuple) else [label])]) for name, label in own
    ]


def class_names(table: Mapping[str, str]) -> list[str]:
    """Return the names of the classes in order: background, then the others as they are in the table."""
    return [BACKGROUND, *dict.fromkeys(name for name in table.values() if name not in {BACKGROUND, VOID})]


def paste(names: Sequence[str]) -> str:
    """Return the setting ``data.classes`` for a shell."""
    return shlex.quote(f"data.classes=[{','.join(map(_hydra_text, names))}]")


def _hydra_text(name: str) -> str:
    """Return a text as Hydra reads it: in quotes, unless it is plain words that mean no number, boolean or null."""
    plain = re.fullmatch(r"[^\W\d_][\w/.-]*( [\w/.-]+)*", name)
    if plain and name.lower() not in {"null", "true", "false", "nan", "inf"}:
        return name
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + "\\" * bool(found[2]) + found[2], name)
    return '"' + escaped.replace("${", r"\${") + '"'


def spellings(labels: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that differ only in letter case, spaces, or signs between words."""
    groups: dict[str, list[str]] = {}
    for label in sorted({*labels}):
        groups.setdefault(re.sub(r"[\W_]+", "", label.casefold()) or label, []).append(label)
    return [group for group in groups.values() if len(group) > 1]
