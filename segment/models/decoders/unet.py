"""U-Net's decoder (Ronneberger, Fischer & Brox, 2015) for any encoder."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.decoders.upsampling import check_upsampling, initialise_transposed, upsampling_layer
from segment.models.encoders.unet_encoder import double_convolution
from segment.models.weights import he_initialise


def crop_or_pad(x: Tensor, height: int, width: int) -> Tensor:
    """Bring (N,C,H,W) to (N,C,height,width): crop at the end what is too large, pad with zeros what is too small.

    Both occur: poolings round odd sizes up or down.
    """
    pad_y, pad_x = height - x.shape[-2], width - x.shape[-1]
    top, left = torch.sym_max(pad_y, 0) // 2, torch.sym_max(pad_x, 0) // 2
    return F.pad(x, (left, pad_x - left, top, pad_y - top))  # type: ignore[arg-type]  # symbolic when exported


class UNetDecoder(nn.Module):
    """The expanding path: upsample, concatenate the encoder's feature of that stride, convolve twice.

    Args:
        channels: number of channels of the encoder's features, by stride; every stride is a level.
        num_classes: number of score maps.
        upsampling: "bilinear", "nearest", or "transposed" for the paper's up-convolutions.
        width: number of channels of the finest level, doubling with each coarser one up to 512. The default divides the
            channels of the encoder's finest feature by its stride: the paper's 64 at stride 1, and 32 for a ResNet's 64
            at stride 2. It is 16 times the stride or more, since pre-trained encoders start with as few as 16 channels.
        norm: "batch" or "group".

    Attributes:
        stride: stride of the scores that the decoder returns: the encoder's finest.

    Raises:
        SegmentError: an argument has another value.

    Example:
        >>> decoder = UNetDecoder(channels={2: 8, 4: 16}, num_classes=2)
        >>> decoder({2: torch.zeros(1, 8, 6, 6), 4: torch.zeros(1, 16, 3, 3)}).shape
        torch.Size([1, 2, 6, 6])
    """

    offset = 0
    resize_to_image = False
    layouts = ("aligned", "rounded down")

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        upsampling: str = "bilinear",
        width: int | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        check_upsampling(upsampling)
        if width is not None and width < 1:
            raise SegmentError(f"model.decoder.width={width}: expected a number from 1, or null")
        self.strides = sorted(channels, reverse=True)
        self.stride = self.strides[-1]
        finest = width or max(channels[self.stride] // self.stride, 16 * self.stride)
        inputs = channels[self.strides[0]]
        self.up, self.convolve = nn.ModuleList(), nn.ModuleList()
        for coarse, fine in pairwise(self.strides):
            outputs, factor = min(finest * (fine // self.stride), 512), coarse // fine
            self.up.append(upsampling_layer(upsampling, inputs, outputs, factor))
            inputs = outputs if upsampling == "transposed" else inputs
            self.convolve.append(double_convolution(inputs + channels[fine], outputs, norm=norm))
            inputs = outputs
        self.score = nn.Conv2d(inputs, num_classes, 1)
        he_initialise(self.convolve)
        initialise_transposed(self.up)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w) at ``stride``."""
        x = features[self.strides[0]]
        for stride, up, convolve in zip(self.strides[1:], self.up, self.convolve, strict=True):
            skip = features[stride]
            x = convolve(torch.cat([skip, crop_or_pad(up(x), *skip.shape[-2:])], dim=1))
        return self.score(x)
