"""Fully convolutional networks (Long, Shelhamer & Darrell, 2015): score at several strides, fuse, upsample."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.errors import SegmentError


def upsample(scores: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement of (N,C,h,w) by a whole factor; cells stay where they are in the image."""
    return F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else scores


def crop(x: Tensor, height: int, width: int, offset: int = 0) -> Tensor:
    """The part of (N,C,H,W) with this size that begins at (offset, offset)."""
    if not torch.compiler.is_exporting():
        return x[..., offset : offset + height, offset : offset + width]
    # Padding by negative amounts gives a contiguous result, whatever the sizes: one program serves all of them.
    free_y, free_x = height - x.shape[-2], width - x.shape[-1]
    return F.pad(x, (-offset, free_x + offset, -offset, free_y + offset))


def bilinear_kernel(channels: int, factor: int) -> Tensor:
    """The weight (C,C,2f,2f) with which a transposed convolution of stride f interpolates bilinearly."""
    position = torch.arange(2 * factor) - (factor - 0.5)
    line = 1 - position.abs() / factor
    kernel = torch.zeros(channels, channels, 2 * factor, 2 * factor)
    kernel[range(channels), range(channels)] = line[:, None] * line[None, :]
    return kernel


def bilinear_convolution(channels: int, factor: int, padding: int = 0) -> nn.ConvTranspose2d:
    """A transposed convolution of this stride that starts as bilinear interpolation."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=padding, bias=False)
    layer.weight.data.copy_(bilinear_kernel(channels, factor))
    return layer


def scored_strides(channels: Mapping[int, int], skip_strides: Sequence[int]) -> list[int]:
    """The deepest stride and those of the skips, from coarse to fine.

    Raises:
        SegmentError: the encoder has no feature of such a stride.
    """
    strides = sorted({max(channels), *skip_strides}, reverse=True)
    for stride in strides:
        if stride not in channels:
            have = ", ".join(str(s) for s in sorted(channels, reverse=True))
            raise SegmentError(f"model.decoder.skip_strides: no feature at stride {stride}; this encoder has {have}")
    return strides


def zero_scores(channels: Mapping[int, int], strides: Sequence[int], num_classes: int) -> nn.ModuleDict:
    """A 1x1 convolution for each stride, at zero as in the paper: a new skip leaves the coarser net as it was."""
    layers = nn.ModuleDict({str(s): nn.Conv2d(channels[s], num_classes, 1) for s in strides})
    for parameter in layers.parameters():
        nn.init.zeros_(parameter)
    return layers


class FCNDecoder(nn.Module):
    """Scores of the deepest feature, fused with scores of finer features on the way up (section 4.2).

    Args:
        channels: of the encoder's features, by stride.
        num_classes: number of score maps.
        skip_strides: strides whose features are scored too, in any order; [] is FCN-32s, [16] FCN-16s,
            [16, 8] FCN-8s. The deepest is scored in any case.
        upsampling: "bilinear", or "transposed" for learned kernels that start bilinear.

    Attributes:
        stride: of the scores that come out.

    Raises:
        SegmentError: the encoder has no feature of such a stride.
    """

    offset = 0
    stretch = False
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
        if upsampling not in {"bilinear", "transposed"}:
            raise SegmentError(f"model.decoder.upsampling={upsampling}: expected bilinear or transposed")
        self.stride = self.strides[-1]
        self.score = zero_scores(channels, self.strides, num_classes)
        self.up = nn.ModuleDict()
        if upsampling == "transposed":
            for coarse, fine in zip(self.strides, self.strides[1:], strict=False):
                factor = coarse // fine
                self.up[str(fine)] = bilinear_convolution(num_classes, factor, padding=factor // 2)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Features by stride to scores (N,num_classes,h,w) at ``self.stride``."""
        scores = self.score[str(self.strides[0])](features[self.strides[0]])
        for coarse, fine in zip(self.strides, self.strides[1:], strict=False):
            skip = self.score[str(fine)](features[fine])
            larger = self.up[str(fine)](scores) if self.up else upsample(scores, coarse // fine)
            # Pooling rounds up, so the enlarged map is the larger one.
            scores = crop(larger, *skip.shape[-2:]) + skip
        return scores
