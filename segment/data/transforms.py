"""Random augmentation of an image together with its mask.

All random numbers come from torch's default CPU generator, which the data set seeds for each draw, and with it those of
NumPy and Python for the user's own transforms.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate
from torchvision import tv_tensors
from torchvision.transforms import v2

from segment.data.augmentation import Augmentation
from segment.data.classes import IGNORE
from segment.errors import SegmentError

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 0..255. It pads images, so that the net sees zero after normalisation."""

CROP_TRIES = 10
"""Number of places that are tried for a crop."""


def _uniform(low: float, high: float) -> float:
    return float(torch.empty(()).uniform_(low, high))


def _randint(high: int) -> int:
    """Return a random integer from 0 to ``high`` inclusive."""
    return int(torch.randint(high + 1, ()))


def _nearest(start: int, length: int, scaled: int) -> np.ndarray:
    """Return nearest-neighbour indices that resize the pixels ``start`` to ``start + length`` to ``scaled`` pixels."""
    return start + (np.arange(0.5, scaled) * (length / scaled)).astype(np.intp)


def _take(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """Write the labels (H,W) at these rows and columns into ``out``.

    NumPy's take is several times as fast as torch's indexing of bytes. Columns take longer than rows. So they are taken
    first where the rows become more.
    """
    first, end = rows[0], rows[-1] + 1
    if len(rows) > end - first:
        labels[first:end].take(columns, 1).take(rows - first, 0, out, "clip")  # "raise" would buffer
    else:
        labels.take(rows, 0).take(columns, 1, out, "clip")


def _pad(crop: Tensor, blank: Tensor, inner: tuple[slice, slice]) -> None:
    """Copy an image (C,H,W) of one colour into a crop of its size, but for some rows and columns."""
    rows, columns = inner
    for part in (
        np.s_[:, : rows.start],
        np.s_[:, rows.stop :],
        np.s_[:, rows, : columns.start],
        np.s_[:, rows, columns.stop :],
    ):
        crop[part] = blank[part]


class RandomScaleCrop(v2.Transform):
    """Scale by a random factor, crop, pad where the scaled image is smaller than the crop, and flip at random.

    The region that will fill the crop is chosen first, and only that region is flipped and resized. The result is the
    same as for the whole image at a fraction of the work.

    Args:
        size: height and width of the crop, in pixels.
        scale: lowest and highest factor, relative to the image's own size or to ``short_side``.
        short_side: if given, factor 1 is the scale at which the shorter side has this many pixels.
        cat_max_ratio: largest share of the region's labelled pixels that one class may have. While a class has more,
            another place is tried, up to ten; 1 takes the first place.
        flip: probability of a left-right flip.

    Example:
        >>> crop = RandomScaleCrop((32, 48), scale=(0.5, 2.0))
        >>> image = tv_tensors.Image(torch.zeros(3, 40, 60, dtype=torch.uint8))
        >>> crop(image, tv_tensors.Mask(image[0]))[1].shape
        torch.Size([32, 48])
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: Sequence[float],
        short_side: int | None = None,
        cat_max_ratio: float = 1.0,
        flip: float = 0.0,
    ) -> None:
        super().__init__()
        self.size, self.scale, self.short_side = tuple(size), tuple(scale), short_side
        self.cat_max_ratio, self.flip = cat_max_ratio, flip
        self.blank = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).repeat(*self.size, 1).permute(2, 0, 1)

    def forward(
        self, image: tv_tensors.Image, mask: tv_tensors.Mask, out: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the crop of an image uint8 (3,H,W) and its mask uint8 (H,W).

        Args:
            out: memory of the result, an image and a mask of the crop's size; None for new memory.
        """
        pixels, labels = image.as_subclass(Tensor), mask.as_subclass(Tensor)  # without wrappers, which take time
        lengths, scaled = self._choose_lengths(pixels.shape[-2:])
        top, left = self._choose_place(labels, lengths)
        rows, columns = _nearest(top, lengths[0], scaled[0]), _nearest(left, lengths[1], scaled[1])
        region = pixels[None, :, top : top + lengths[0], left : left + lengths[1]]
        if _uniform(0, 1) < self.flip:
            region, columns = region.flip(-1), columns[::-1]
        # Channels last, as the image was decoded: torch then resizes bytes twice as fast.
        region = region.contiguous(memory_format=torch.channels_last)
        if out is None:
            shape = (1, len(pixels), *self.size)
            new = torch.empty(shape, dtype=pixels.dtype, memory_format=torch.channels_last)[0]
            out = new, labels.new_empty(self.size)
        crop, truth = out
        inner = self._choose_inner(scaled)
        if tuple(scaled) == self.size:  # written once: interpolate calls the same function, which then makes new memory
            torch.ops.aten._upsample_bilinear2d_aa.out(region, scaled, False, None, None, out=crop[None])
        else:
            _pad(crop, self.blank, inner)
            truth.fill_(IGNORE)
            crop[:, *inner] = interpolate(region, scaled, mode="bilinear", antialias=True)[0]
        _take(labels.numpy(), rows, columns, truth[inner].numpy())
        return tv_tensors.Image(crop), tv_tensors.Mask(truth)

    def _choose_lengths(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the lengths of the region in an image of this size, and its lengths in the crop, per axis."""
        factor = _uniform(*self.scale)
        if self.short_side is not None:
            factor *= self.short_side / min(size)
        lengths, scaled = [], []
        for side, wanted in zip(size, self.size, strict=True):
            length = min(max(1, round(wanted / factor)), side)
            lengths.append(length)
            scaled.append(wanted if length < side else min(wanted, max(1, round(side * factor))))
        return lengths, scaled

    def _choose_place(self, mask: Tensor, lengths: Sequence[int]) -> tuple[int, int]:
        """Return the region's first row and column."""
        step = max(1, min(lengths) // 64)
        for _ in range(CROP_TRIES):
            top, left = (_randint(side - length) for side, length in zip(mask.shape[-2:], lengths, strict=True))
            if self.cat_max_ratio >= 1:
                break
            # A few thousand pixels are enough to estimate a share.
            sparse = mask[top : top + lengths[0] : step, left : left + lengths[1] : step]
            counts = sparse.flatten().bincount(minlength=256)[:IGNORE]
            if counts.max() <= self.cat_max_ratio * counts.sum() and counts.sum() > 0:
                break
        return top, left

    def _choose_inner(self, scaled: Sequence[int]) -> tuple[slice, slice]:
        """Return the rows and columns of the crop that the scaled region fills; the others are padding."""
        if tuple(scaled) == self.size:
            return slice(None), slice(None)
        starts = [_randint(wanted - side) for wanted, side in zip(self.size, scaled, strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(starts, scaled, strict=True))
        return rows, columns


def _sample(planes: Tensor, grid: Tensor, mode: str) -> Tensor:
    """Sample planes (C,H,W) at a grid (H,W,2) of places in -1..1 as float32; places outside take the nearest pixel."""
    return grid_sample(planes[None].float(), grid[None], mode, padding_mode="border", align_corners=False)[0]


class RandomWarp(v2.Transform):
    """Rotate and deform in one step, so that pixels are interpolated once.

    The deformation is that of the U-Net paper (Ronneberger et al., 2015, section 3.1): random shifts on a 3x3 grid,
    bicubic in between. torchvision's own warps darken the image's border, where they interpolate with the padding.

    Args:
        rotation: largest angle in degrees, in either direction.
        elastic: standard deviation of the shifts in pixels (10 in the paper).
    """

    def __init__(self, rotation: float = 0.0, elastic: float = 0.0) -> None:
        super().__init__()
        self.rotation, self.elastic = math.radians(rotation), elastic

    def forward(self, image: tv_tensors.Image, mask: tv_tensors.Mask) -> tuple[Tensor, Tensor]:
        height, width = image.shape[-2:]
        angle = _uniform(-self.rotation, self.rotation)
        y = torch.arange(height)[:, None] - (height - 1) / 2
        x = torch.arange(width) - (width - 1) / 2
        # The place that each pixel comes from, in pixels from the centre.
        source = torch.stack([math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y])
        if self.elastic:
            shifts = torch.randn(1, 2, 3, 3) * self.elastic
            source += interpolate(shifts, (height, width), mode="bicubic", align_corners=True)[0]
        grid = source.permute(1, 2, 0) * (2 / torch.tensor([width, height]))  # -1..1 from edge to edge
        outside = (grid.abs() > 1).any(-1)
        pixels = _sample(image.as_subclass(Tensor), grid, "bilinear").round().to(torch.uint8)
        labels = _sample(mask.as_subclass(Tensor)[None], grid, "nearest")[0].to(torch.uint8)
        pixels[:, outside] = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None]
        labels[outside] = IGNORE
        return tv_tensors.Image(pixels), tv_tensors.Mask(labels)


def train_transform(
    crop_size: Sequence[int] | None,
    scale: Sequence[float] = (0.5, 2.0),
    short_side: int | None = None,
    cat_max_ratio: float = 1.0,
    flip: float = 0.5,
    rotation: float = 0.0,
    elastic: float = 0.0,
    colour: float = 0.0,
    augment: Sequence[v2.Transform] = (),
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a transform that scales, crops, flips, warps, changes colours and applies others, in this order.

    It takes a uint8 image (3,H,W) and its mask (H,W). Areas that padding or warping uncovers have the mean colour in
    the image and 255 in the mask.

    Args:
        crop_size, scale, short_side, cat_max_ratio, flip: see :class:`RandomScaleCrop`; without a crop size images stay
            whole, at their own scale.
        rotation, elastic: see :class:`RandomWarp`; 0 for none.
        colour: probability of each step of SSD's photometric distortion; 0 leaves colours unchanged.
        augment: see :class:`segment.data.augmentation.Augmentation`.

    Returns:
        A transform ``(Image, Mask) -> (Image, Mask)``; both results have exactly ``crop_size``, if it is given.

    Raises:
        SegmentError: an argument is out of range.
    """
    shares = 0 < cat_max_ratio <= 1 and 0 <= flip <= 1 and 0 <= colour <= 1
    if not (shares and 0 <= rotation < math.inf and 0 <= elastic < math.inf and (short_side is None or short_side > 0)):
        raise SegmentError(
            "data: expected cat_max_ratio in (0,1], flip and colour in [0,1], rotation and elastic from 0, short_side "
            f"from 1, but got {cat_max_ratio}, {flip}, {colour}, {rotation}, {elastic} and {short_side}"
        )
    steps: list[v2.Transform | Augmentation] = []
    if crop_size is None:
        steps.append(v2.RandomHorizontalFlip(flip))
    else:
        steps.append(RandomScaleCrop(crop_size, scale, short_side, cat_max_ratio, flip))
    if rotation or elastic:
        steps.append(RandomWarp(rotation, elastic))
    if colour:
        steps.append(v2.RandomPhotometricDistort(p=colour))
    if augment:
        steps.append(Augmentation(augment))
    return steps[0] if len(steps) == 1 else v2.Compose(steps)
