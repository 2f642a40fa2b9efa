"""Reading annotation files that may be broken or hostile, and finding the images they name."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from segment.data.annotations.objects import MAX_AREA, MAX_SIDE
from segment.data.classes import BACKGROUND, MAX_NAME
from segment.data.file_names import name_key
from segment.data.images import IMAGE_SUFFIXES
from segment.data.labels import VOID
from segment.errors import SegmentError
from segment.files import printable


def read_text(path: Path) -> str:
    """Return a text in UTF-8, in UTF-16 as PowerShell writes it, or else in Latin-1.

    Raises:
        SegmentError: the file can't be read, or its UTF-16 is damaged.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")  # reading a pipe would wait for ever
        content = path.read_bytes()
    except OSError as error:
        raise SegmentError(f"cannot read {path}: {_reason(error)}") from None
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if encoding.startswith("utf-8"):
            return content.decode("latin-1")
        raise SegmentError(f"cannot read {path}: it is cut off, or no text in {encoding.upper()}") from None


def load_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        SegmentError: the file can't be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = _reason(error) if text.strip() else "it is empty"
        raise SegmentError(f"cannot read {path}: it is no JSON, or cut off: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise SegmentError(f"cannot read {path}: {_reason(error)}") from None


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        SegmentError: the file can't be read, is no XML, or has a document type, whose entities may stand for gigabytes.
    """
    text = read_text(path)
    try:
        if "<!DOCTYPE" in text:
            raise ValueError("it declares a document type, which may hold entities")
        return ElementTree.fromstring(text)
    except (ValueError, RecursionError, ElementTree.ParseError) as error:
        raise SegmentError(f"cannot read {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return printable((getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:200])


def typed(value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    """Return a value of a file after the check of its type.

    Raises:
        SegmentError: it has another type.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise SegmentError(f"{name} is {printable(repr(value)[:60])}: expected {kinds}")
    return value


def read_label(value: Any, name: str) -> str:
    """Return a label without spaces at its ends; LabelMe's names of background and void become ours.

    Raises:
        SegmentError: it is no text, empty or very long, or holds control characters or lone surrogates.
    """
    label = str(typed(value, (str, int), name)).strip()
    if not 0 < len(label) <= MAX_NAME or any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in label):
        raise SegmentError(f"{name} is {printable(repr(value)[:60])}: expected 1 to {MAX_NAME} printable characters")
    return {"_background_": BACKGROUND, "__ignore__": VOID}.get(label, label)


def read_points(values: Any, name: str) -> np.ndarray:
    """Return points (n,2), given as pairs or as a flat list of numbers.

    Raises:
        SegmentError: a value is no finite number, or a point is no pair.
    """
    try:
        found = np.array(typed(values, list, name), object)  # one long text would make all entries of a text array long
        if not {*map(type, found.flat)} <= {int, float}:
            raise ValueError
        points = found.astype(np.float64)
        points = points[: len(points) // 2 * 2].reshape(-1, 2) if points.ndim == 1 else points
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError
    except (ValueError, OverflowError):
        raise SegmentError(f"{name}: expected pairs of finite numbers x, y") from None
    return points


def read_size(height: Any, width: Any, name: str) -> tuple[int, int] | None:
    """Return the declared (height, width); None if the file states none.

    Raises:
        SegmentError: they are no whole numbers, or too large for an image.
    """
    if not height and not width:
        return None
    sides = [int(side) if isinstance(side, float) and side.is_integer() else side for side in (height, width)]
    if not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides) or sides[0] * sides[1] > MAX_AREA:
        shown = printable(f"{width!r:.20}x{height!r:.20}")
        raise SegmentError(f"{name} declares {shown} pixels: expected whole numbers, at most {MAX_AREA} pixels")
    return sides[0], sides[1]


CVAT_XML = "is CVAT's own XML, which is not read: export the task as 'Segmentation mask 1.1'"
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Split by its name in a file or folder."""
SPLIT_FOLDER = re.compile(rf"(?:images?[-_ ]?)?({'|'.join(SPLITS)})(?:[-_ ]?(?:images?|set))?[-_ ]?\d*", re.IGNORECASE)
"""Name of a folder of a split: train, train2017, val_images, ..."""


def split_name(path: Path) -> str | None:
    """Return the split in the name of a file such as ``instances_val2017.json``, or else of its folder."""
    words = [*re.split(r"[^a-z]+", path.stem.lower()), path.parent.name.lower()]
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def folder_split(folder: Path) -> str | None:
    """Return the split that a part of a folder's path names, such as ``images/train2017`` or ``valid/images``."""
    found = (SPLIT_FOLDER.fullmatch(part) for part in reversed(folder.parts))
    return next((SPLITS[name[1].lower()] for name in found if name), None)


class ImageFolder:
    """The files below a data set's folder, found by the names that annotations give.

    Args:
        root: the folder. Files that a link or ``..`` places outside are refused.
        without: names of folders that are left out.
    """

    def __init__(self, root: Path, without: Sequence[str] = ()) -> None:
        self.root, self._real = root, root.resolve()
        self.files = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in without and name[0] != "."]
            self.files += [Path(folder, name) for name in names if name[0] != "."]
        self.files.sort()
        self.images = [path for path in self.files if path.suffix.lower() in IMAGE_SUFFIXES]
        self._by_name: dict[str, list[Path]] = {}
        for path in self.images:
            for name in (path.name, path.stem):
                self._by_name.setdefault(name_key(name), []).append(path)

    def with_suffix(self, suffix: str) -> Iterator[Path]:
        """Yield the files of a suffix in order, without those outside the folder."""
        return (path for path in self.files if path.suffix.lower() == suffix)

    def contains(self, path: Path) -> bool:
        """Return whether a file lies in the folder after links are followed."""
        return Path(os.path.realpath(path)).is_relative_to(self._real)  # Path.resolve fails on a loop of links

    def id(self, image: Path) -> str:
        """Return an image's path below the folder, without its suffix."""
        return image.relative_to(self.root).with_suffix("").as_posix()

    def find(self, name: str, source: Path, near: Path | None = None) -> Path:
        """Return the image that an annotation names: relative to the annotation's folder, or else by its name alone.

        Args:
            name: a path with slashes or backslashes.
            source: file of the annotation.
            near: folder that the name is relative to; by default the annotation's.

        Raises:
            SegmentError: there is no such image, there are several, or it lies outside the folder.
        """
        near = near or source.parent
        parts = PurePosixPath(name.replace("\\", "/"))
        path = Path(os.path.normpath(near / parts))
        try:
            if not path.is_file():
                found = self._by_name.get(name_key(parts.name), [])
                beside = [one for one in found if one.parent == near]
                ending = [one for one in found if one.as_posix().endswith(f"/{parts}")]
                own_split = [one for one in found if split_name(one.parent) == split_name(source)]
                found = beside or (ending if len(ending) == 1 else own_split if len(found) > 1 else found)
                if len(found) != 1:
                    some = f"{len(found)} images of that name" if found else "no such image"
                    raise SegmentError(f"{source}: {some} below {self.root}: {printable(name[:200])}")
                path = found[0]
            if not self.contains(path) or not path.is_relative_to(self.root):
                raise SegmentError(f"{source}: the image {printable(name[:200])} lies outside {self.root}")
        except (OSError, ValueError):  # names that no file can have
            raise SegmentError(f"{source}: no such image below {self.root}: {printable(name[:200])}") from None
        return path


def flag(values: Any, name: str) -> bool:
    """Return whether a table has a true value, see :func:`is_true`."""
    return is_true(values.get(name)) if isinstance(values, Mapping) else False


def is_true(value: Any) -> bool:
    """Return whether a value of a file means true: true, 1, "1" or "yes"."""
    return value is True or str(value).strip().lower() in {"1", "true", "yes"}
