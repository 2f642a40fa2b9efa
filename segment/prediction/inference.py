"""Protocols of inference: whole images or sliding windows, test-time augmentation, and a memory limit."""

from collections.abc import Callable, Sequence
from itertools import product
from math import ceil, inf, sqrt
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.class_map import argmax_classes
from segment.models.costs.memory import bytes_per_pixel
from segment.models.net import SegmentationNet
from segment.models.whole import WholeNet
from segment.prediction.parts import MARGIN, Span, cut, window_weights, windows

TYPICAL_SIDE, SIDE_STEP = 512, 64
"""Side of the square on which a net's memory is measured; for a net of any module the sides are multiples of a step."""
KEPT_BYTES = 20
"""Memory that each pixel of an image takes until its files are written, in bytes: colour, class, mask and overlay."""


class Inference:
    """A protocol by which a net segments an image.

    Softmax probabilities are averaged. Test-time augmentation averages over scales and flipped images at the image's
    own size, as in mmsegmentation. Overlapping windows are averaged with Gaussian weights, as in nnU-Net.

    Args:
        window: height and width of a sliding window, in pixels of the scaled image; None for whole images.
        stride: step from one window to the next, down and right, in pixels; None for two thirds of the window.
        scales: factors by which the image is resized.
        flip: whether to average with the probabilities of the flipped image.
        max_memory: GiB that one image may take, with the net's weights; None for no limit. An image that would take
            more is cut into parts. They overlap by 128 pixels or more on each side. The result differs from that of
            the whole image only where a class depends on pixels farther away.

    Raises:
        SegmentError: an argument is out of range.

    Example:
        >>> Inference(window=[512, 512], flip=True).describe()
        'single scale, windows of 512x512, stride 341x341, Gaussian blend, flipped'
    """

    def __init__(
        self,
        window: Sequence[int] | None = None,
        stride: Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        max_memory: float | None = None,
    ) -> None:
        _require(window is None or (len(window) == 2 and min(window) >= 1), "window", window, "[HEIGHT,WIDTH], or null")
        if window is None:
            _require(stride is None, "stride", stride, "a window, too: give inference.window=[HEIGHT,WIDTH]")
        else:
            stride = [max(1, side * 2 // 3) for side in window] if stride is None else stride
            fits = len(stride) == 2 and all(1 <= step <= side for step, side in zip(stride, window, strict=True))
            _require(fits, "stride", stride, f"[DOWN,RIGHT], from 1 to the window's {list(window)}")
        fits = len(scales) > 0 and all(0 < scale < inf for scale in scales)
        _require(fits, "scales", scales, "factors above 0, such as [0.75,1,1.25]")
        _require(max_memory is None or max_memory > 0, "max_memory", max_memory, "GiB above 0, or null for no limit")
        self.window, self.stride, self.scales = tuple(window or ()), tuple(stride or ()), tuple(scales)
        self.flip, self.max_memory = flip, max_memory
        self._is_plain = not self.window and not flip and {*self.scales} == {1}
        self._costs: WeakKeyDictionary[SegmentationNet, dict[int, float]] = WeakKeyDictionary()

    def describe(self) -> str:
        """Return a description of the protocol, which is recorded with the metrics."""
        parts = ["single scale"] if self.scales == (1,) else []
        window, stride = ("x".join(map(str, pair)) for pair in (self.window, self.stride))
        parts.append(f"windows of {window}, stride {stride}, Gaussian blend" if self.window else "whole images")
        if self.scales != (1,):
            parts.append(f"scales {' '.join(f'{scale:g}' for scale in self.scales)}")
        if self.flip:
            parts.append("flipped")
        if self.max_memory is not None:
            parts.append(f"in overlapping parts where it would take more than {self.max_memory:g} GiB")
        return ", ".join(parts)

    def class_map(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """Return class indices int64 (H,W), on the net's device. The default protocol is that of ``net.predict``.

        Args:
            image: uint8 (3,H,W) RGB.

        Raises:
            SegmentError: ``max_memory`` is too little for any part of the image.
        """
        return self.run(net, image)[0]

    @torch.no_grad()
    def run(
        self, net: SegmentationNet, image: Tensor, keep: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return class indices, as :meth:`class_map` does, and what is kept of the probabilities.

        The class indices are the same whatever is kept.

        Args:
            keep: maps probabilities float32 (classes,H,W) to (N,H,W), such as :func:`whole_255ths`; None for nothing.
        """
        parts = self._parts(net, image, keep is not None)
        if len(parts) == 1:
            return self._segment(net, image, keep)
        size, device = image.shape[-2:], net.mean.device
        classes, kept = torch.empty(size, dtype=torch.int64, device=device), None
        for y, x in parts:
            seen_classes, seen = self._segment(net, image[:, y.seen, x.seen], keep)
            classes[y.kept, x.kept] = seen_classes[y.inside, x.inside]
            if seen is not None:
                kept = torch.empty((len(seen), *size), dtype=seen.dtype, device=device) if kept is None else kept
                kept[:, y.kept, x.kept] = seen[:, y.inside, x.inside]
        return classes, kept

    def _segment(
        self, net: SegmentationNet, image: Tensor, keep: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Do what :meth:`run` does, without a limit on memory."""
        if self._is_plain:
            scores = net.scores(net.normalize(image[None]))
            classes = net.best_classes(scores, *image.shape[-2:])[0]
            return classes, keep(net.upsample(scores, *image.shape[-2:]).softmax(1)[0]) if keep else None
        total = self._average(net, image)
        return argmax_classes(total[None])[0], keep(total) if keep else None

    def _average(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """Return the probabilities (classes,H,W), averaged over scales, mirrored images and windows."""
        normalised, size = net.normalize(image[None]), image.shape[-2:]
        total = torch.zeros(())
        for scale in self.scales:
            # Images are resized as in training, where pixels are averaged. Scores are resized without antialiasing.
            scaled = _resize(normalised, [max(1, round(side * scale)) for side in size], antialias=True)
            for flipped in (False, True)[: 1 + self.flip]:
                found = self._softmax(net, scaled.flip(-1) if flipped else scaled, size)
                total = (found.flip(-1) if flipped else found).add_(total)
        return total.div_(len(self.scales) * (1 + self.flip))

    def _softmax(self, net: SegmentationNet, image: Tensor, size: Sequence[int]) -> Tensor:
        """Return probabilities (classes,H,W) of a normalised image (1,3,h,w); ``size`` is (H,W)."""
        if not self.window:
            return _resize(net(image).float(), size).softmax(1)[0]
        # Always float32: float16 cannot represent the small weights at a window's edges.
        total = image.new_zeros(1, net.num_classes, *image.shape[-2:], dtype=torch.float32)
        weights = image.new_zeros(image.shape[-2:], dtype=torch.float32)
        for rows, columns in windows(image.shape[-2:], self.window, self.stride):
            found = net(image[..., rows, columns]).float().softmax(1)
            weight = window_weights(*found.shape[-2:]).to(found.device)
            total[..., rows, columns] += found.mul_(weight)
            weights[rows, columns] += weight
        return _resize(total.div_(weights), size)[0]

    def _parts(self, net: SegmentationNet, image: Tensor, probabilities: bool) -> list[tuple[Span, Span]]:
        """Return the image as one part, or as the fewest parts that take at most ``max_memory``, one at a time.

        Room for probabilities is kept even where they are not wanted, so that the parts, and with them the classes,
        do not depend on what is written. It is given up only where the image would not fit otherwise.
        """
        height, width = image.shape[-2:]
        parts, needed = self._cut(net, height, width, KEPT_BYTES + net.num_classes)
        if not parts and not probabilities:
            parts, needed = self._cut(net, height, width, KEPT_BYTES)
        if not parts:
            size = f"{width}x{height}{' with its probabilities' * probabilities}"
            raise SegmentError(
                f"max_memory={self.max_memory:g}: an image of {size} needs {needed:.2f} GiB with this net"
            )
        return parts

    def _cut(self, net: SegmentationNet, height: int, width: int, kept: int) -> tuple[list[tuple[Span, Span]], float]:
        """Return the parts of an image, none where no part is small enough, and the GiB that they take.

        Args:
            kept: bytes that each of the image's pixels takes until its files are written.
        """
        stride, counts = max(net.encoder.channels), [1, 1]
        while True:
            rows, columns = cut(height, counts[0], stride), cut(width, counts[1], stride)
            y, x = rows[0].seen.stop, columns[0].seen.stop
            if self.max_memory is None:
                return list(product(rows, columns)), 0.0
            needed = kept * height * width / 2**30 + self._memory(net, y * x)
            if needed <= self.max_memory:
                return list(product(rows, columns)), needed
            if max(y, x) < 2 * MARGIN + 3 * stride:
                return [], needed
            counts[0 if y >= x else 1] += 1

    def _memory(self, net: SegmentationNet, part: int) -> float:
        """Return the GiB that a net and a part of so many pixels take."""
        scaled = part * max(self.scales) ** 2
        seen = min(scaled, self.window[0] * self.window[1]) if self.window else scaled
        # The memory of attention grows faster than the number of pixels.
        side = SIDE_STEP * ceil(sqrt(seen) / SIDE_STEP) if isinstance(net, WholeNet) else TYPICAL_SIDE
        costs = self._costs.setdefault(net, {})
        if side not in costs:
            try:
                costs[side] = bytes_per_pixel(net, side)
            except (RuntimeError, NotImplementedError) as error:  # a net whose code needs values, not only shapes
                reason = " ".join(str(error).split())[:150]
                raise SegmentError(f"this net's memory is unknown ({reason}): set inference.max_memory=null") from None
        weights = sum(parameter.nbytes for parameter in net.parameters())
        copies = 3 if self._is_plain else 5  # of all scores, as float32
        return (weights + costs[side] * seen + copies * 4 * net.num_classes * max(part, scaled)) / 2**30


def whole_255ths(probabilities: Tensor) -> Tensor:
    """Return probabilities (classes,H,W) as uint8, in whole 255ths."""
    return probabilities.mul(255).round_().to(torch.uint8)


def highest(probabilities: Tensor) -> Tensor:
    """Return the probability (1,H,W) of each pixel's most probable class."""
    return probabilities.amax(0, keepdim=True)


def _require(fits: bool, name: str, value: Any, expected: str) -> None:
    if not fits:
        raise SegmentError(f"inference.{name}={value}: expected {expected}")


def _resize(x: Tensor, size: Sequence[int], antialias: bool = False) -> Tensor:
    """Return (N,C,H,W) resized bilinearly, in float32 at least: CPUs have no antialiasing in 16 bits."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return F.interpolate(wide, tuple(size), mode="bilinear", align_corners=False, antialias=antialias).to(x.dtype)
