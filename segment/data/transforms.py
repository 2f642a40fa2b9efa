"""What happens to an image and its mask together before training.

Every random choice is drawn from torch's default CPU generator, which the data set seeds for each draw.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from segment.data.classes import IGNORE

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean, in 0..255: what pads an image, so that the net sees zero after normalisation."""


def _uniform(low: float, high: float) -> float:
    return float(torch.empty(()).uniform_(low, high))


def _randint(high: int) -> int:
    """A whole number from 0 to ``high``, both included."""
    return int(torch.randint(high + 1, ()))


class RandomScaleCrop(v2.Transform):
    """Scale by a random factor and cut out a crop, padded where the scaled image is smaller.

    The region that will fill the crop is chosen first and only that region is resized: a fraction of the
    work of resizing the whole image, for the same result.

    Args:
        size: height and width of the crop, in pixels.
        scale: lowest and highest factor, relative to the image's own size or to ``short_side``.
        short_side: if given, factor 1 is the scale at which the shorter side has this many pixels.
    """

    def __init__(self, size: Sequence[int], scale: Sequence[float], short_side: int | None = None) -> None:
        super().__init__()
        self.size, self.scale, self.short_side = tuple(size), tuple(scale), short_side

    def forward(self, image: tv_tensors.Image, mask: tv_tensors.Mask) -> tuple[Tensor, Tensor]:
        factor = _uniform(*self.scale)
        if self.short_side is not None:
            factor *= self.short_side / min(image.shape[-2:])
        # Per axis: length of the region in the image, its first pixel, and its length in the crop.
        lengths, starts, scaled = [], [], []
        for have, want in zip(image.shape[-2:], self.size, strict=True):
            length = min(max(1, round(want / factor)), have)
            lengths.append(length)
            starts.append(_randint(have - length))
            scaled.append(want if length < have else min(want, max(1, round(have * factor))))
        box = (*starts, *lengths)
        image = F.resize(F.crop(image, *box), scaled, InterpolationMode.BILINEAR, antialias=True)
        # nearest-exact, not nearest: the latter shifts the mask by half a pixel against the image.
        mask = F.resize(F.crop(mask, *box), scaled, InterpolationMode.NEAREST_EXACT)
        return self._pad(image, mask)

    def _pad(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        free_y, free_x = (want - have for want, have in zip(self.size, image.shape[-2:], strict=True))
        if free_y == free_x == 0:
            return image, mask
        top, left = _randint(free_y), _randint(free_x)
        padding = [left, top, free_x - left, free_y - top]
        return F.pad(image, padding, fill=list(MEAN_COLOUR)), F.pad(mask, padding, fill=IGNORE)


def train_transform(
    crop_size: Sequence[int],
    scale: Sequence[float] = (0.5, 2.0),
    short_side: int | None = None,
    flip: float = 0.5,
    colour: float = 0.0,
) -> v2.Compose:
    """Scale, crop, flip and change the colours of a uint8 image (3,H,W) and its mask (H,W), in this order.

    Args:
        crop_size, scale, short_side: see :class:`RandomScaleCrop`.
        flip: probability of a left-right flip.
        colour: probability of each step of SSD's photometric distortion; 0 leaves colours alone.

    Returns:
        A transform ``(Image, Mask) -> (Image, Mask)``; both results have exactly ``crop_size``.
    """
    steps: list[v2.Transform] = [RandomScaleCrop(crop_size, scale, short_side)]
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    if colour:
        steps.append(v2.RandomPhotometricDistort(p=colour))
    return v2.Compose(steps)
