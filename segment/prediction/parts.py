"""The overlapping parts into which an image is cut where the whole image would take too much memory."""

from itertools import pairwise
from typing import NamedTuple

MARGIN = 128
"""Number of pixels that a net sees of a part beyond each side of what is kept of it."""


class Span(NamedTuple):
    """A range of an image's rows or columns.

    Attributes:
        seen: the range that the net sees.
        kept: the range, in the image, of the result that is kept.
        inside: the same range, in the part.
    """

    seen: slice
    kept: slice
    inside: slice


def cut(side: int, count: int, stride: int) -> list[Span]:
    """Cut a side into at most ``count`` spans that overlap by two margins or more.

    All spans have one length, so that each can use the memory of the one before; with several lengths each would leave
    some behind. They begin on the net's grid, and end on that of the mirrored image.

    Args:
        side: number of pixels.
        count: highest number of spans.
        stride: of the net's grid.
    """
    length = -(-(side + (count - 1) * (2 * MARGIN + stride)) // (count * stride)) * stride + side % stride
    if length >= side:
        return [Span(*[slice(0, side)] * 3)]
    starts = sorted({(side - length) * i // (count - 1) // stride * stride for i in range(count)})
    # The result changes from one span to the next in the middle of their overlap.
    bounds = [0, *[(start + length + after) // 2 for start, after in pairwise(starts)], side]
    return [
        Span(slice(start, start + length), slice(first, last), slice(first - start, last - start))
        for start, (first, last) in zip(starts, pairwise(bounds), strict=True)
    ]
