"""Fully convolutional networks (Long, Shelhamer & Darrell, 2015): score at several strides, add, upsample."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.decoders.upsampling import check_upsampling


def upsample(scores: Tensor, factor: int, mode: str = "bilinear") -> Tensor:
    """Upsample (N,C,h,w) by a whole factor, bilinear or nearest; each cell keeps its place in the image."""
    return F.interpolate(scores, scale_factor=factor, mode=mode) if factor > 1 else scores


def crop(x: Tensor, height: int, width: int, offset: int = 0) -> Tensor:
    """Crop (N,C,H,W) to (N,C,height,width), from row and column ``offset`` on."""
    if not torch.compiler.is_exporting():
        return x[..., offset : offset + height, offset : offset + width]
    # Negative padding gives a contiguous result for all sizes, so that one exported program serves all of them.
    pad_y, pad_x = height - x.shape[-2], width - x.shape[-1]
    return F.pad(x, (-offset, pad_x + offset, -offset, pad_y + offset))


def bilinear_kernel(channels: int, factor: int) -> Tensor:
    """Return the weight (C,C,2f,2f) with which a transposed convolution of stride f interpolates bilinearly."""
    position = torch.arange(2 * factor) - (factor - 0.5)
    line = 1 - position.abs() / factor
    kernel = torch.zeros(channels, channels, 2 * factor, 2 * factor)
    kernel[range(channels), range(channels)] = line[:, None] * line[None, :]
    return kernel


def bilinear_convolution(channels: int, factor: int, padding: int = 0) -> nn.ConvTranspose2d:
    """Build a transposed convolution whose stride is ``factor`` and which starts as bilinear interpolation."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=padding, bias=False)
    layer.weight.data.copy_(bilinear_kernel(channels, factor))
    return layer


def scored_strides(channels: Mapping[int, int], skip_strides: Sequence[int]) -> list[int]:
    """Return the deepest stride and those of the skips, from coarse to fine.

    Raises:
        SegmentError: the encoder has no feature at one of the strides.
    """
    strides = sorted({max(channels), *skip_strides}, reverse=True)
    for stride in strides:
        if stride not in channels:
            available = ", ".join(map(str, sorted(channels, reverse=True)))
            raise SegmentError(
                f"model.decoder.skip_strides: no feature at stride {stride}; this encoder has {available}"
            )
    return strides


def zero_scores(channels: Mapping[int, int], strides: Sequence[int], num_classes: int) -> nn.ModuleDict:
    """Build a 1x1 convolution for each stride, all zero as in the paper: a new skip does not change the output."""
    layers = nn.ModuleDict({str(s): nn.Conv2d(channels[s], num_classes, 1) for s in strides})
    for parameter in layers.parameters():
        nn.init.zeros_(parameter)
    return layers


class FCNDecoder(nn.Module):
    """Scores of the deepest feature, to which scores of finer features are added on the way up (section 4.2).

    Args:
        channels: number of channels of the encoder's features, by stride.
        num_classes: number of score maps.
        skip_strides: strides whose features are scored too, in any order: [] is FCN-32s, [16] FCN-16s,
            [16, 8] FCN-8s. The deepest feature is always scored.
        upsampling: "bilinear", "nearest", or "transposed" for convolutions that are trained and start as bilinear; from
            the finest skip to the image it is always bilinear.

    Attributes:
        stride: stride of the scores that the decoder returns.

    Raises:
        SegmentError: the encoder has no feature at one of the strides, or ``upsampling`` is unknown.

    Example:
        >>> decoder = FCNDecoder(channels={16: 8, 32: 8}, num_classes=2, skip_strides=[16])
        >>> decoder({16: torch.zeros(1, 8, 4, 4), 32: torch.zeros(1, 8, 2, 2)}).shape
        torch.Size([1, 2, 4, 4])
    """

    offset = 0
    resize_to_image = False
    layouts = ("aligned",)

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        skip_strides: Sequence[int] = (),
        upsampling: str = "bilinear",
    ) -> None:
        super().__init__()
        self.strides = scored_strides(channels, skip_strides)
        check_upsampling(upsampling)
        self.stride = self.strides[-1]
        self.score = zero_scores(channels, self.strides, num_classes)
        self.up, self.mode = nn.ModuleDict(), upsampling
        if upsampling == "transposed":
            for coarse, fine in pairwise(self.strides):
                factor = coarse // fine
                self.up[str(fine)] = bilinear_convolution(num_classes, factor, padding=factor // 2)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w) at ``stride``."""
        scores = self.score[str(self.strides[0])](features[self.strides[0]])
        for coarse, fine in pairwise(self.strides):
            skip = self.score[str(fine)](features[fine])
            larger = self.up[str(fine)](scores) if self.up else upsample(scores, coarse // fine, self.mode)
            # Poolings round up, so the upsampled map is never the smaller one.
            scores = crop(larger, *skip.shape[-2:]) + skip
        return scores
