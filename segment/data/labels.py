"""What the values of a mask file stand for."""

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, from_numpy, frombuffer, uint8
from torchvision.io import decode_image

from segment.data.classes import IGNORE
from segment.data.images import PNG, PngHeader, unpack_png
from segment.errors import SegmentError

INVALID = 254
"""What values become that no mask of the data set may hold."""


class Labels:
    """How a data set's mask values, of one channel or colours, become class indices.

    Args:
        table: label by value (0 to 255) or by RGB colour, all keys of one kind; 255 as a label is "ignore".
    """

    def __init__(self, table: Mapping[Any, int]) -> None:
        self.table = dict(table)
        self.coloured = any(isinstance(value, tuple) for value in table)

    @property
    def modes(self) -> tuple[str, ...]:
        """PIL modes of masks that have such values."""
        return ("RGB", "RGBA", "P", "L", "1") if self.coloured else ("P", "L", "1")

    @cached_property
    def _lookup(self) -> np.ndarray:
        """Label by value, or by colour as one number of 24 bits."""
        lookup = np.full(2**24 if self.coloured else 256, INVALID, np.uint8)
        for value, label in self.table.items():
            lookup[(value[0] << 16) + (value[1] << 8) + value[2] if isinstance(value, tuple) else value] = label
        return lookup

    def read(self, path: Path) -> Tensor:
        """The labels uint8 (H,W) of a mask file.

        Raises:
            SegmentError: the file can't be read, or holds a value that the table does not have.
        """
        return self.translate(self.values(path), path)

    def translate(self, values: np.ndarray, path: Path) -> Tensor:
        """The labels uint8 (H,W) of a mask's values, which the file at ``path`` holds.

        Raises:
            SegmentError: the table does not have one of them.
        """
        if self.coloured:
            mask = self._lookup.take(values)
        else:  # twice as fast as numpy's take
            mask = np.frombuffer(bytearray(values).translate(self._lookup.tobytes()), np.uint8).reshape(values.shape)
        if (mask == INVALID).any():
            self._complain(path, values[mask == INVALID].flat[0])
        return from_numpy(mask)

    def values(self, path: Path) -> np.ndarray:
        """The values (H,W) of a mask file, colours as one number of 24 bits.

        Raises:
            SegmentError: the file can't be read.
        """
        if path.suffix == ".mat":
            return mat_values(path)
        try:
            content = path.read_bytes()
            if content.startswith(PNG):
                rows, header = unpack_png(content), PngHeader.of(content)
                # Colours of kind 0 are grey, of 3 a palette's: with 8 bits they take half of PIL's time.
                if not self.coloured and header.depth == 8 and header.colour in {0, 3}:
                    return _byte_rows(content, header, rows)
            with Image.open(io.BytesIO(content)) as image:
                if not self.coloured:
                    white = 255 if image.mode == "1" and 1 not in self.table else 1
                    return np.array(image, dtype=np.uint8) * np.uint8(white)  # of a palette image the indices
                red, green, blue = np.moveaxis(np.array(image.convert("RGB"), dtype=np.int32), -1, 0)
                return (red << 16) + (green << 8) + blue
        except Exception as error:  # PIL raises whatever a broken file makes it run into
            reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
            raise SegmentError(f"cannot read the mask {path}: {reason}") from None

    def _complain(self, path: Path, value: int) -> None:
        if self.coloured:
            colour = f"{value >> 16}/{value >> 8 & 255}/{value & 255}"
            raise SegmentError(
                f"{path} holds the colour {colour}, which data.classes does not name: add {colour}: NAME, "
                f"or {colour}: void to ignore it"
            )
        raise SegmentError(
            f"{path} holds the label {value}, but this data set's labels are "
            f"{ranges(sorted(v for v in self.table if isinstance(v, int)))}: is it a mask of another data set, "
            "or do the classes leave one out?"
        )


def _byte_rows(content: bytes, header: PngHeader, rows: bytes) -> np.ndarray:
    """The values (H,W) of a sound PNG of 8 bits, one value a pixel, of which the rows are unpacked."""
    if not header.interlaced:
        table = np.frombuffer(rows, np.uint8).reshape(header.height, 1 + header.width)
        if not table[:, 0].any():  # no filter: that is what VOC's have
            return np.ascontiguousarray(table[:, 1:])
    return decode_image(frombuffer(bytearray(content), dtype=uint8)).numpy()[0]


def index_labels(num_classes: int, offset: int = 0, void: Sequence[int] = (IGNORE,)) -> Labels:
    """Value ``offset + k`` is class k; the values in ``void`` are ignored."""
    return Labels({**{offset + k: k for k in range(num_classes)}, **dict.fromkeys(void, IGNORE)})


def mat_values(path: Path) -> np.ndarray:
    """The class map uint8 (H,W) of one of SBD's ``cls/*.mat`` files.

    Raises:
        SegmentError: the file can't be read or is none of SBD's.
    """
    from scipy.io import loadmat  # here, since only SBD needs it

    try:
        return np.asarray(loadmat(path)["GTcls"][0]["Segmentation"][0], dtype=np.uint8)
    except Exception as error:  # scipy raises whatever a broken file makes it run into
        raise SegmentError(f"cannot read the mask {path}: {str(error) or type(error).__name__}") from None


def ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] as "0 to 2 and 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return " and ".join(" to ".join(map(str, part)) for part in parts)
