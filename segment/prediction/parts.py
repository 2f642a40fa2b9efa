"""The pieces of an image that a net sees one at a time: sliding windows, and parts within a limit on memory."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.signal.windows import gaussian

MARGIN = 128
"""Smallest overlap on each side of a part, in pixels; the predictions in it are discarded."""


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
    some behind. They begin on the net's grid, and end on that of the flipped image.

    Args:
        side: number of pixels.
        count: highest number of spans.
        stride: step of the net's grid, in pixels.
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


def windows(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Return the rows and columns of windows that cover an image. The last ones are moved back to end with it."""
    axes = []
    for side, length, step in zip(size, window, stride, strict=True):
        last = max(0, side - length)
        axes.append([slice(start, start + length) for start in (*range(0, last, step), last)])
    return product(*axes)


def window_weights(height: int, width: int) -> Tensor:
    """Return the weights (height,width) of a window's pixels: a Gaussian of peak 1, its sigma an eighth of each side.

    It is nnU-Net's (Isensee et al., 2021; ``compute_gaussian`` in ``nnunetv2/inference/sliding_window_prediction.py``).
    """
    return torch.outer(*(gaussian(side, std=side / 8, dtype=torch.float32) for side in (height, width)))
