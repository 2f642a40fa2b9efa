"""Mean, standard deviation and channel order of a net's input."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from segment.errors import SegmentError

MAX_PIXEL = 1e6
"""Bound of the means and deviations: pixels have 0 to 255, or 0 to 65535."""


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, in 0..255, and the order of the channels.

    Attributes:
        mean, std: three values each, in the order in which the net takes the channels.
        bgr: whether that order is blue, green, red.

    Example:
        >>> Normalization(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)) == NORMALIZATIONS["unit"]
        True
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False


NORMALIZATIONS = {
    "imagenet": Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Normalization((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), bgr=True),
    "unit": Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
}
"""The normalisations that ``model.normalization`` can name."""


def read_normalization(value: str | Mapping[str, Any]) -> Normalization:
    """Read a name out of ``NORMALIZATIONS``, or a table of ``mean``, ``std`` and optionally ``bgr``.

    Raises:
        SegmentError: the value is neither.
    """
    if isinstance(value, str) and value in NORMALIZATIONS:
        return NORMALIZATIONS[value]
    if isinstance(value, Mapping) and value.keys() <= {"mean", "std", "bgr"}:
        with suppress(KeyError, TypeError, ValueError):
            mean, std = (tuple(map(float, value[key])) for key in ("mean", "std"))
            plausible = all(abs(value) < MAX_PIXEL for value in (*mean, *std))  # false for NaN
            if len(mean) == len(std) == 3 and plausible and min(std) >= 1:  # below 1: for pixels in 0..1
                return Normalization(mean, std, bool(value.get("bgr")))
    raise SegmentError(
        f"model.normalization={value!s:.100}: expected {', '.join(NORMALIZATIONS)}, null, or "
        "{mean: [R,G,B], std: [R,G,B]} in 0..255"
    )


def same_normalization(first: Normalization, second: Normalization) -> bool:
    """Return whether two normalisations are equal up to rounding: a checkpoint's metadata has numbers of 32 bits."""
    pairs = zip((*first.mean, *first.std), (*second.mean, *second.std), strict=True)
    return first.bgr == second.bgr and all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs)
