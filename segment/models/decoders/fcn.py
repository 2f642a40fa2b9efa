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


PAPER_CROPS = {16: 5, 8: 9}
"""Where the coarser map begins in the skip's scores, by the skip's stride (voc-fcn8s/net.py)."""
PAPER_OFFSETS = {32: 19, 16: 27, 8: 31}
"""Where the image begins in the enlarged scores, by the finest stride."""
AT_ONCE_SCALES = {16: 0.01, 8: 0.0001}
"""Factors of the features whose scores are trained at once with the deepest ones."""


class PaperFCNDecoder(nn.Module):
    """The decoder of the FCN papers to the letter, for a VGG16 whose first convolution pads by 100.

    Full transposed convolutions without padding enlarge the scores; fixed crops align them (``net.py`` of
    fcn.berkeleyvision.org).

    Args:
        channels: of the encoder's features, by stride.
        num_classes: number of score maps.
        skip_strides: [] for FCN-32s, [16] for FCN-16s, [16, 8] for FCN-8s.
        at_once: scale the skips' features, so that all strides can be trained at once.
        learn_upsampling: whether the transposed convolutions are trained; in the authors' nets they stay bilinear.

    Attributes:
        stride, offset: the scores that come out are at full resolution, and the image begins at this offset.

    Raises:
        SegmentError: other strides than these.
    """

    stride = 1
    stretch = False
    layouts = ("of the FCN papers",)

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        skip_strides: Sequence[int] = (),
        at_once: bool = False,
        learn_upsampling: bool = False,
    ) -> None:
        super().__init__()
        self.strides = scored_strides(channels, skip_strides)
        if self.strides not in ([32], [32, 16], [32, 16, 8]):
            raise SegmentError(f"model.decoder.skip_strides={list(skip_strides)}: the paper's are [], [16] and [16,8]")
        self.offset = PAPER_OFFSETS[self.strides[-1]]
        self.scales = AT_ONCE_SCALES if at_once else {}
        self.score = zero_scores(channels, self.strides, num_classes)
        self.up = nn.ModuleDict()
        for coarse, fine in zip(self.strides, [*self.strides[1:], 1], strict=True):
            self.up[f"{coarse}to{fine}"] = bilinear_convolution(num_classes, coarse // fine)
        self.up.requires_grad_(learn_upsampling)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Features by stride to scores at full resolution, of which the image's begin at ``offset``."""
        scores = self.score[str(self.strides[0])](features[self.strides[0]])
        for coarse, fine in zip(self.strides, self.strides[1:], strict=False):
            scores = self.up[f"{coarse}to{fine}"](scores)
            feature = features[fine] * self.scales[fine] if self.scales else features[fine]
            skip = self.score[str(fine)](feature)
            height, width = scores.shape[-2:]
            scores = scores + crop(skip, height, width, PAPER_CROPS[fine])
        return self.up[f"{self.strides[-1]}to1"](scores)


class FCNHead(nn.Module):
    """The head of torchvision's ``fcn_resnet50`` and ``fcn_resnet101``: a 3x3 convolution, then scores.

    Args:
        channels: of the encoder's features, by stride; the deepest is scored.
        num_classes: number of score maps.
        dropout: before the scores.

    Attributes:
        stride: of the scores.
        stretch: the scores are stretched to the image's size, as torchvision does it.
    """

    offset = 0
    stretch = True
    layouts = ("aligned",)

    def __init__(self, channels: Mapping[int, int], num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.stride = max(channels)
        width = channels[self.stride] // 4
        self.mix = nn.Sequential(
            nn.Conv2d(channels[self.stride], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.score = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Features by stride to scores (N,num_classes,h,w) at ``stride``."""
        return self.score(self.mix(features[self.stride]))
