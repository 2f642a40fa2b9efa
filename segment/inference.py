"""How a trained net is asked for an image's classes: whole images or sliding windows, scales, flips, memory."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.net import SegmentationNet


class Inference:
    """An image's class map or class probabilities, by one protocol; the arguments are that protocol.

    Softmax probabilities are averaged: over scales and mirror images at the image's own size, as
    mmsegmentation does it, and over windows that overlap with a Gaussian weight, as nnU-Net does it.

    Args:
        window: height and width of a sliding window, in pixels of the scaled image; None for whole images.
        stride: from one window to the next, down and right; None for two thirds of the window.
        scales: of the image.
        flip: whether the mirrored image is asked, too.
        max_memory: GiB; None for no limit.

    Raises:
        SegmentError: an argument is out of range.
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
            raise SegmentError(
                f"inference.stride={list(stride)} is a window's: give inference.window=[HEIGHT,WIDTH], too"
            )
        if window is not None:
            if len(window) != 2 or min(window) < 1:
                raise SegmentError(f"inference.window={list(window)}: expected [HEIGHT,WIDTH] in pixels, or null")
            stride = [max(1, side * 2 // 3) for side in window] if stride is None else stride
            if len(stride) != 2 or not all(0 < step <= side for step, side in zip(stride, window, strict=True)):
                raise SegmentError(
                    f"inference.stride={list(stride)}: expected [DOWN,RIGHT], from 1 to the window's {list(window)}"
                )
        if not scales or min(scales) <= 0:
            raise SegmentError(f"inference.scales={list(scales)}: expected factors above 0, such as [0.75,1,1.25]")
        if max_memory is not None and max_memory <= 0:
            raise SegmentError(f"inference.max_memory={max_memory}: expected GiB above 0, or null for no limit")
        self.window = None if window is None else tuple(window)
        self.stride = tuple(stride or ())
        self.scales, self.flip, self.max_memory = tuple(scales), flip, max_memory

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
        return ", ".join([*words, *["flipped"] * self.flip])

    def class_map(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """uint8 RGB (3,H,W) to class indices int64 (H,W) on the net's device."""
        if self._is_plain:
            return net.predict(image[None])[0]
        return self.probabilities(net, image).argmax(0)

    @torch.no_grad()
    def probabilities(self, net: SegmentationNet, image: Tensor) -> Tensor:
        """uint8 RGB (3,H,W) to probabilities float32 (classes,H,W) on the net's device."""
        normalised, size = net.normalize(image[None]), image.shape[-2:]
        total = torch.zeros(())
        for scale in self.scales:
            # As training does it: what gets smaller is averaged, not sampled. Scores are as everybody resizes them.
            scaled = _resize(normalised, [max(1, round(side * scale)) for side in size], antialias=True)
            for flipped in (False, True)[: 1 + self.flip]:
                answer = self._answer(net, scaled.flip(-1) if flipped else scaled, size)
                total = (answer.flip(-1) if flipped else answer) + total.to(answer.device)
        return total / (len(self.scales) * (1 + self.flip))

    @property
    def _is_plain(self) -> bool:
        return self.window is None and not self.flip and all(scale == 1 for scale in self.scales)

    def _answer(self, net: SegmentationNet, image: Tensor, size: Sequence[int]) -> Tensor:
        """Normalised image (1,3,h,w) to probabilities (classes,H,W) of this size."""
        if self.window is None:
            return _resize(net(image).float(), size).softmax(1)[0]
        total = weights = torch.zeros(())
        for rows, columns in _windows(image.shape[-2:], self.window, self.stride):
            part = net(image[..., rows, columns]).float().softmax(1)
            if not total.ndim:
                total = part.new_zeros(1, part.shape[1], *image.shape[-2:])
                weights = part.new_zeros(image.shape[-2:])
                weight = gaussian(*part.shape[-2:]).to(part.device)
            total[..., rows, columns] += part * weight
            weights[rows, columns] += weight
        return _resize(total / weights, size)[0]


def gaussian(height: int, width: int) -> Tensor:
    """The weight (height,width) of a window's pixels: its sigma is an eighth of each side, and its peak 1.

    nnU-Net's (Isensee et al., 2021; ``compute_gaussian`` in ``nnunetv2/inference/sliding_window_prediction.py``).
    """
    lines = []
    for side in (height, width):
        position = torch.arange(side) - (side - 1) / 2
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
    """Bilinear, in (N,C,H,W)."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False, antialias=antialias)
