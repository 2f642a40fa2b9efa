"""What pixels a net's weights were trained on."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from segment.errors import SegmentError

Pixels = tuple[tuple[float, ...], tuple[float, ...], bool]
"""Mean and standard deviation in 0..255, and whether the net wants BGR."""
NORMALIZATIONS: dict[str, Pixels] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "caffe": ((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), True),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0), False),
}


def _alike(first: Pixels, second: Pixels) -> bool:
    """Up to the rounding of a card, which has numbers of 32 bits."""
    numbers = zip((*first[0], *first[1], first[2]), (*second[0], *second[1], second[2]), strict=True)
    return all(math.isclose(one, other, rel_tol=1e-6) for one, other in numbers)


def read_pixels(normalization: str | Mapping[str, Any]) -> Pixels:
    """A name or a table as mean, deviation and whether the net wants BGR.

    Raises:
        SegmentError: it is neither.
    """
    if isinstance(normalization, str) and normalization in NORMALIZATIONS:
        return NORMALIZATIONS[normalization]
    if isinstance(normalization, Mapping) and normalization.keys() <= {"mean", "deviation", "bgr"}:
        with suppress(KeyError, TypeError, ValueError):
            mean, deviation = (tuple(map(float, normalization[key])) for key in ("mean", "deviation"))
            if len(mean) == len(deviation) == 3 and min(deviation) >= 1:  # below, they are of 0..1
                return mean, deviation, bool(normalization.get("bgr"))
    raise SegmentError(
        f"model.normalization={normalization}: expected {', '.join(NORMALIZATIONS)}, null, or "
        "{mean: [R,G,B], deviation: [R,G,B]} in 0..255"
    )
