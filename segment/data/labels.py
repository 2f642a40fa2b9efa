"""Translation of mask values and mask colours to class labels."""

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor, from_numpy, frombuffer, uint8
from torchvision.io import decode_image

from segment.data.array_masks import ARRAY_SUFFIXES, read_array, read_sbd
from segment.data.classes import IGNORE, Classes, Colour, voc_palette
from segment.data.headers import check_regular, open_image, read_content
from segment.data.images import read_failure
from segment.data.png import PNG, PngHeader, may_have_exif, unpack_png
from segment.errors import SegmentError

INVALID = 254
"""Label that marks mask values that the table lacks."""
VOID = "void"
"""Name of values that are ignored."""


class Labels:
    """Table from a data set's mask values, or mask colours, to class labels.

    Args:
        table: label by value (0 to 255) or by RGB colour, all keys of one kind; label 255 means "ignore".
        names: of the labels, if a user has given them in ``data.classes``.
        threshold: if given, masks may have any mode, and their brightness is looked up in the table.

    Example:
        >>> labels = Labels({(0, 0, 0): 0, (128, 64, 128): 1, (255, 255, 255): 255})
        >>> labels.coloured
        True
    """

    def __init__(self, table: Mapping[Any, int], names: Sequence[str] = (), threshold: float | None = None) -> None:
        self.table, self.names, self.threshold = dict(table), tuple(names), threshold
        self.coloured = any(isinstance(value, tuple) for value in table)

    @property
    def modes(self) -> tuple[str, ...]:
        """PIL modes of the masks that have such values."""
        return ("P", "L", "1") if self._reads_indices else ("RGB", "RGBA", "P", "PA", "L", "LA", "1")

    @property
    def _reads_indices(self) -> bool:
        """True if the values of a mask are what its file stores: indices of a palette, or grey values."""
        return not self.coloured and self.threshold is None

    @cached_property
    def _lookup(self) -> np.ndarray:
        """Label by value, or by colour as one number of 24 bits."""
        lookup = np.full(2**24 if self.coloured else 256, INVALID, np.uint8)
        for value, label in self.table.items():
            lookup[(value[0] << 16) + (value[1] << 8) + value[2] if isinstance(value, tuple) else value] = label
        return lookup

    @cached_property
    def _shift(self) -> tuple[int, int, int] | None:
        """Difference of values and labels, lowest label, and number of labels, if all values have one difference.

        All numbers are modulo 256, and the labels have to be neighbours: 255 lies before 0. None for other tables.
        """
        if self.coloured:
            return None
        labels = {int(value): int(label) for value, label in enumerate(self._lookup) if label != INVALID}
        shifts = {(value - label) % 256 for value, label in labels.items()}
        starts = [label for label in labels.values() if (label - 1) % 256 not in labels.values()]
        return (shifts.pop(), starts[0], len(labels)) if len(shifts) == len(starts) == 1 else None

    def translate(self, values: np.ndarray) -> tuple[Tensor, dict[int, int]]:
        """Return the labels uint8 (H,W) of a mask's values (H,W), and the number of pixels of each unknown value."""
        if self._shift is not None:  # as for VOC and ADE20K; a fifth of the time of a look-up
            shift, lowest, number = self._shift
            mask = np.subtract(values, np.uint8(shift), order="C")
            if (mask - np.uint8(lowest)).max(initial=0) < number:
                return from_numpy(mask), {}
        if self.coloured:
            mask = self._lookup.take(values)
        else:  # twice as fast as numpy's take
            mask = np.frombuffer(bytearray(values).translate(self._lookup.tobytes()), np.uint8).reshape(values.shape)
        unknown = mask == INVALID
        counts = Counter[int](values[unknown].tolist() if unknown.any() else ())
        return from_numpy(mask), dict(counts)

    def read_values(self, path: Path) -> np.ndarray:
        """Read the values (H,W) of a mask file; a colour is one number of 24 bits.

        Raises:
            SegmentError: the file cannot be read.
        """
        try:
            check_regular(path)
            if path.suffix == ".mat":
                return read_sbd(path)
            if path.suffix.lower() in ARRAY_SUFFIXES:
                if self.coloured:
                    raise ValueError("data.classes is a table of colours, and an array holds numbers")
                return read_array(path, self.threshold)
            content = read_content(path)
            depth = 8
            if content.startswith(PNG):
                rows, header = unpack_png(content), PngHeader.from_bytes(content)
                depth = header.depth
                # Colour type 0 is grey, 3 a palette. This takes half of PIL's time for 8 bits.
                if self._reads_indices and depth == 8 and header.colour in {0, 3} and not may_have_exif(content):
                    return _values_of_8_bits(content, header, rows)
            with open_image(io.BytesIO(content)) as image:
                tags = getattr(image, "tag_v2", {})  # of a TIFF
                depth = tags.get(258, (1,))[0] if tags else depth  # 1 is TIFF's default
                if tags.get(262) == 0 and depth > 1:  # PIL turns the values around
                    raise ValueError(
                        "it is a TIFF in which 0 is white, so its labels may be turned around: save it as PNG"
                    )
                image = ImageOps.exif_transpose(image)
                if self._reads_indices:
                    values = np.array(image, dtype=np.uint8)  # the indices of a palette image
                    if image.mode == "L" and depth < 8:  # PIL stretches 2 and 4 bits to 8
                        values //= 255 // (2**depth - 1)
                    is_white = _is_black_and_white(image) and 1 not in self.table
                    return values * np.uint8(255 if is_white else 1)
                colours = np.array(image.convert("RGB"))
            if self.threshold is not None:
                return colours.max(-1)
            red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
            return (red << 16) + (green << 8) + blue
        except Exception as error:  # a damaged file makes PIL raise all kinds of errors
            raise SegmentError(f"cannot read the mask {path}: {read_failure(error)}") from None


def _is_black_and_white(image: Image.Image) -> bool:
    """Return True for a mask of one bit per pixel; in a GIF it is one with a palette."""
    if image.mode == "1":
        return True
    return (
        image.mode == "P" and image.getextrema()[1] == 1 and (image.getpalette() or [])[:6] == [0, 0, 0, 255, 255, 255]
    )


def _values_of_8_bits(content: bytes, header: PngHeader, rows: bytes) -> np.ndarray:
    """Return the values (H,W) of an intact PNG with one channel of 8 bits, given its unpacked rows."""
    if not header.interlaced:
        table = np.frombuffer(rows, np.uint8).reshape(header.height, 1 + header.width)
        if not table[:, 0].any():  # no row is filtered, as in VOC's masks
            return np.ascontiguousarray(table[:, 1:])
    return decode_image(frombuffer(bytearray(content), dtype=uint8)).numpy()[0]


def index_labels(num_classes: int, offset: int = 0, void: Sequence[int] = (IGNORE,)) -> Labels:
    """Return labels for masks in which value ``offset + k`` is class k and the values in ``void`` are ignored.

    Example:
        >>> index_labels(2, offset=1, void=(0, 255)).table
        {1: 0, 2: 1, 0: 255, 255: 255}
    """
    return Labels({**{offset + k: k for k in range(num_classes)}, **dict.fromkeys(void, IGNORE)})


def parse_classes(
    classes: Sequence[str] | Mapping[Any, str] | None, threshold: float | None = None
) -> tuple[Classes, Labels]:
    """Return the classes and labels that ``data.classes`` describes.

    Args:
        classes: names in order of index, or a table from mask value or colour to name.
        threshold: if given, the brightness from which a pixel is of the class with the higher of two values.

    Raises:
        SegmentError: names or values are missing, repeated, of mixed kinds or out of range.
    """
    if not classes:
        raise SegmentError(
            "data.classes is missing: give the names in order of index, data.classes=[background,cell], or a table of "
            "mask values, data.classes={0:background,255:cell}, or of colours, data.classes={128/64/128:road}, or put "
            "CVAT's labelmap.txt beside the masks"
        )
    if isinstance(classes, str):
        raise SegmentError(f"data.classes={classes}: expected a list, [{classes},...], or a table, {{0:{classes},...}}")
    if not isinstance(classes, Mapping):
        names = [str(name) for name in classes if str(name) != VOID]
        if len({*names}) < len(names):
            raise SegmentError(f"data.classes: {', '.join(sorted({n for n in names if names.count(n) > 1}))} repeated")
        classes = {**dict(enumerate(classes)), IGNORE: VOID}
    values = {_parse_value(key): str(name) for key, name in classes.items()}
    if len({isinstance(value, tuple) for value in values}) > 1:
        raise SegmentError("data.classes: either mask values or colours, not both")
    names = [name for name in dict.fromkeys(values.values()) if name != VOID]
    if not 1 < len(names) <= 254:
        raise SegmentError(f"data.classes names {len(names)} classes; expected 2 to 254")
    own = {name: value for value, name in reversed(values.items()) if isinstance(value, tuple)}
    colours = tuple(own[name] for name in names) if own else voc_palette(len(names))
    labels = {value: IGNORE if name == VOID else names.index(name) for value, name in values.items()}
    if threshold is not None:
        low, *_, high = (label for _, label in sorted(labels.items()) if label != IGNORE)
        if len(names) != 2 or low == high:
            raise SegmentError(f"data.threshold={threshold:g}: expected two classes in data.classes, not {len(names)}")
        if not 0 < threshold <= 255:
            raise SegmentError(f"data.threshold={threshold:g}: expected a brightness above 0 and up to 255")
        labels = {value: high if value >= threshold else low for value in range(256)}
    return Classes(tuple(names), colours), Labels(labels, names, threshold)


def _parse_value(key: Any) -> int | Colour:
    """Return a key of the table as a mask value, or as a colour if it is "128/64/128" or "#804080"."""
    text = str(key).strip()
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    if re.fullmatch(r"\d{1,3}/\d{1,3}/\d{1,3}", text):  # Hydra's grammar has no # in a key
        red, green, blue = map(int, text.split("/"))
        if max(red, green, blue) <= 255:
            return red, green, blue
    if text.isdecimal() and int(text) <= 255:
        return int(text)
    raise SegmentError(f"data.classes: {text!r} is neither a mask value from 0 to 255 nor a colour RED/GREEN/BLUE")


def ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as text: [0, 1, 2, 5] as "0 to 2 and 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return " and ".join(" to ".join(map(str, part)) for part in parts)
