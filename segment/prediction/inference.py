"""How a trained net is asked for an image's classes: whole images or sliding windows, scales, flips, memory."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import isfinite
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.class_map import argmax_classes
from segment.models.costs.memory import bytes_per_pixel
from segment.models.net import SegmentationNet
from segment.prediction.parts import MARGIN, Span, cut

KEPT_BYTES = 20
"""Of an image's pixel, for as long as it is worked on: its colour, class, mask and overlay."""


class Inference:
    """An image's class map or class probabilities, by one protocol; the arguments are that protocol.

    Softmax probabilities are averaged: over scales and mirror images at the image's own size, as
    mmsegmentation does it, and over windows that overlap with a Gaussian weight, as nnU-Net does it.

    Args:
        window: height and width of a sliding window, in pixels of the scaled image; None for whole images.
        stride: from one window to the next, down and right; None for two thirds of the window.
        scales: of the image.
        flip: whether the mirrored image is asked, too.
        max_memory: GiB that one image may take, with the net's weights; None for no limit. An image that would take
            more is cut into parts on the net's own grid that overlap by 128 pixels on each side. Inside them the answer
            differs from the whole image's only where that depends on something farther away.

    Raises:
        SegmentError: an argument is out of range, or of another type.
    """

    def __init__(
        self,
        window: Sequence[int] | None = None,
        stride: Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        max_memory: float | None = None,
    ) -> None:
        if window is None and stride is not None:
            raise SegmentError(f"inference.stride={stride} is a window's: give inference.window=[HEIGHT,WIDTH], too")
        if window is not None:
            if not are_numbers(window, int) or len(window) != 2 or min(window) < 1:
                raise SegmentError(f"inference.window={window}: expected [HEIGHT,WIDTH] in pixels, or null")
            stride = [max(1, side * 2 // 3) for side in window] if stride is None else stride
            fits = are_numbers(stride, int) and len(stride) == 2
            if not fits or not all(0 < step <= side for step, side in zip(stride, window, strict=True)):
                raise SegmentError(
                    f"inference.stride={stride}: expected [DOWN,RIGHT], from 1 to the window's {list(window)}"
                )
        if not are_numbers(scales, int | float) or not scales or min(scales) <= 0:
            raise SegmentError(f"inference.scales={scales}: expected factors above 0, such as [0.75,1,1.25]")
        if not isinstance(flip, bool):
            raise SegmentError(f"inference.flip={flip}: expected true or false")
        if max_memory is not None and (not are_numbers([max_memory], int | float) or max_memory <= 0):
            raise SegmentError(f"inference.max_memory={max_memory}: expected GiB above 0, or null for no limit")
        self.window = None if window is None else tuple(window)
        self.stride = tuple(stride or ())
        self.scales, self.flip, self.max_memory = tuple(scales), flip, max_memory
        self._costs: WeakKeyDictionary[SegmentationNet, tuple[float, int]] = WeakKeyDictionary()

    def describe(self) -> str:
        """The protocol in words, for those who read the figures."""
        words = ["whole images"]
        if self.window is not None:
            sizes = ["x".join(map(str, pair)) for pair in (self.window, self.stride)]
            words = [f"windows of {sizes[0]}, stride {sizes[1]}, Gaussian blend"]
        if len(self.scales) == 1 and self.scales[0] == 1:
            words.insert(0, "single scale")
        else:
            words.append(f"scale{'s' * (len(self.scales) > 1)} {' '.join(f'{scale:g}' for scale in self.scales)}")
        if self.flip:
            words.append("flipped")
        if self.max_memory is not None:
            words.append(f"in overlapping parts where it would take more than {self.max_memory:g} GiB")
        return ", ".join(words)

    def class_map(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """uint8 RGB (3,H,W) to class indices int64 (H,W) on the net's device; by default it is ``net.predict``.

        Raises:
            SegmentError: ``max_memory`` is not enough for any part of the image.
        """
        return self.run(net, image)[0]

    def probabilities(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """uint8 RGB (3,H,W) to probabilities float32 (classes,H,W) on the net's device; raises as above."""
        return self.run(net, image, torch.float32)[1]

    @torch.no_grad()
    def run(self, net: SegmentationNet, image: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Both of the above.

        Args:
            dtype: of the probabilities; uint8 for whole 255ths; None leaves them out: there are no classes then.
        """
        spans = self._spans(net, image, dtype)
        if len(spans) == 1:
            return self._ask(net, image, dtype)
        size, device = image.shape[-2:], net.mean.device
        classes = torch.empty(size, dtype=torch.int64, device=device)
        kept = torch.empty((net.num_classes if dtype else 0, *size), dtype=dtype, device=device)
        for y, x in spans:
            answer, probabilities = self._ask(net, image[:, y.seen, x.seen], dtype)
            classes[y.kept, x.kept] = answer[y.inside, x.inside]
            kept[:, y.kept, x.kept] = probabilities[:, y.inside, x.inside]
        return classes, kept

    def _ask(self, net: SegmentationNet, image: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """:meth:`run` without regard to memory."""
        if dtype is None and self._is_plain:
            return net.predict(image[None])[0], torch.empty(0, *image.shape[-2:])
        normalised, size = net.normalize(image[None]), image.shape[-2:]
        total = torch.zeros(())
        for scale in self.scales:
            # As training does it: what gets smaller is averaged, not sampled. Scores are as everybody resizes them.
            scaled = _resize(normalised, [max(1, round(side * scale)) for side in size], antialias=True)
            for flipped in (False, True)[: 1 + self.flip]:
                answer = self._answer(net, scaled.flip(-1) if flipped else scaled, size)
                total = (answer.flip(-1) if flipped else answer).add_(total.to(answer.device))
        total /= len(self.scales) * (1 + self.flip)
        classes = argmax_classes(total[None])[0]
        if dtype is None:
            return classes, total[:0]
        return classes, total.mul_(255).round_().to(dtype) if dtype == torch.uint8 else total.to(dtype)

    @property
    def _is_plain(self) -> bool:
        return self.window is None and not self.flip and all(scale == 1 for scale in self.scales)

    def _answer(self, net: SegmentationNet, image: Tensor, size: Sequence[int]) -> Tensor:
        """Normalised image (1,3,h,w) to probabilities (classes,H,W) of this size."""
        if self.window is None:
            return _resize(net(image).float(), size).softmax(1)[0]
        # In 32 bits whatever the image's: 16 cannot hold the windows' edges, where weights are small.
        total = image.new_zeros(1, net.num_classes, *image.shape[-2:], dtype=torch.float32)
        weights = image.new_zeros(image.shape[-2:], dtype=torch.float32)
        for rows, columns in _windows(image.shape[-2:], self.window, self.stride):
            part = net(image[..., rows, columns]).float().softmax(1)
            weight = gaussian(*part.shape[-2:]).to(part.device)
            total[..., rows, columns] += part.mul_(weight)
            weights[rows, columns] += weight
        return _resize(total.div_(weights), size)[0]

    def _spans(self, net: SegmentationNet, image: Tensor, dtype: torch.dtype | None) -> list[tuple[Span, Span]]:
        """The image as one part, or as few as take no more than ``max_memory``, one at a time."""
        height, width = image.shape[-2:]
        if self.max_memory is None:
            return list(product(cut(height, 1, 1), cut(width, 1, 1)))
        if net not in self._costs:
            self._costs[net] = bytes_per_pixel(net), sum(p.nbytes for p in net.parameters())
        cost, weights = self._costs[net]
        fixed = weights + height * width * (KEPT_BYTES + (net.num_classes * dtype.itemsize if dtype else 0))
        scale = max(self.scales) ** 2
        scores = 0 if dtype is None and self._is_plain else 4 * 5 * net.num_classes * max(1, scale)
        stride, counts = max(net.encoder.channels), [1, 1]
        while True:
            rows, columns = cut(height, counts[0], stride), cut(width, counts[1], stride)
            y, x = rows[0].seen.stop, columns[0].seen.stop
            asked = min(y * x * scale, self.window[0] * self.window[1]) if self.window else y * x * scale
            needed = (fixed + cost * asked + scores * y * x) / 2**30
            if needed <= self.max_memory:
                return list(product(rows, columns))
            if max(y, x) < 2 * MARGIN + 3 * stride:
                raise SegmentError(
                    f"max_memory={self.max_memory:g}: an image of {width}x{height} takes {needed:.2f} GiB "
                    f"with this net, whose weights are {weights / 2**30:.2f} of them"
                )
            counts[0 if y >= x else 1] += 1


def are_numbers(values: Any, kind: Any) -> bool:
    """Whether they are a list of finite numbers of a type."""
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    return listed and all(isinstance(v, kind) and not isinstance(v, bool) and isfinite(v) for v in values)


def gaussian(height: int, width: int) -> Tensor:
    """The weight (height,width) of a window's pixels: its sigma is an eighth of each side, and its peak 1.

    nnU-Net's (Isensee et al., 2021; ``compute_gaussian`` in ``nnunetv2/inference/sliding_window_prediction.py``).
    """
    lines = []
    for side in (height, width):
        position = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        lines.append(torch.exp(-0.5 * (position * 8 / side) ** 2))
    return lines[0][:, None] * lines[1]


def _windows(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Windows that cover an image, the last ones moved back to its end; no larger than the image."""
    starts = []
    for side, length, step in zip(size, window, stride, strict=True):
        last = max(0, side - length)
        starts.append([*range(0, last, step), last])
    for top in starts[0]:
        for left in starts[1]:
            yield slice(top, min(top + window[0], size[0])), slice(left, min(left + window[1], size[1]))


def _resize(x: Tensor, size: Sequence[int], antialias: bool = False) -> Tensor:
    """Bilinear, in (N,C,H,W), and in 32 bits at least: a CPU has no antialiasing in 16."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return F.interpolate(wide, tuple(size), mode="bilinear", align_corners=False, antialias=antialias).to(x.dtype)
