"""U-Net exactly as published (Ronneberger, Fischer & Brox, 2015): unpadded convolutions, mirrored borders, tiles."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.encoders.encoder import Encoder
from segment.models.net import SegmentationNet
from segment.models.weights import he_initialise

SHRINKAGE = 92
"""Number of pixels that the unpadded convolutions remove on each side: 572 in, 388 out."""
STRIDES = (1, 2, 4, 8, 16)


def _unpadded(inputs: int, outputs: int) -> nn.Sequential:
    """Build two 3x3 convolutions without padding, each with a ReLU."""
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), relu, nn.Conv2d(outputs, outputs, 3), relu)


class PaperUNetEncoder(Encoder):
    """The contracting path of figure 1; each convolution makes the features smaller by two pixels.

    Args:
        width: channels of the first of five levels, doubling with each.
        dropout: probability at the end of the path (section 3.1).
        weights: None; :class:`PaperUNet` takes the weights of the whole net.

    Raises:
        SegmentError: weights are given.

    Example:
        >>> PaperUNetEncoder(width=4).channels
        {1: 4, 2: 8, 4: 16, 8: 32, 16: 64}
    """

    layout = "U-Net paper"

    def __init__(self, width: int = 64, dropout: float = 0.5, weights: str | None = None) -> None:
        if weights is not None:
            raise SegmentError(
                "model.encoder.weights: the paper's U-Net has no encoder weights; use model.weights=FILE"
            )
        channels = {stride: width * stride for stride in STRIDES}
        stages = [(1, _unpadded(3, width))]
        stages += [(s, nn.Sequential(nn.MaxPool2d(2), *_unpadded(channels[s // 2], channels[s]))) for s in STRIDES[1:]]
        stages[-1][1].append(nn.Dropout(dropout))
        super().__init__(stages, channels)
        he_initialise(self)


class PaperUNetDecoder(nn.Module):
    """The expanding path of figure 1: up-convolution, the middle of the skip, two unpadded convolutions.

    Args:
        channels: number of channels of the encoder's features, by stride.
        num_classes: number of score maps.

    Raises:
        SegmentError: the channels are not those of :class:`PaperUNetEncoder`.

    Example:
        >>> encoder = PaperUNetEncoder(width=4)
        >>> PaperUNetDecoder(encoder.channels, num_classes=2)(encoder(torch.zeros(1, 3, 188, 204))).shape
        torch.Size([1, 2, 4, 20])
    """

    stride = 1
    offset = 0
    resize_to_image = False
    layouts = ("U-Net paper",)

    def __init__(self, channels: Mapping[int, int], num_classes: int) -> None:
        super().__init__()
        width = channels.get(1, 0)
        if dict(channels) != {stride: width * stride for stride in STRIDES}:
            raise SegmentError(
                "this decoder needs an encoder with layout 'U-Net paper' and channels that double with each stride: "
                "use model/encoder=unet_paper"
            )
        self.up, self.convolve = nn.ModuleList(), nn.ModuleList()
        for stride in reversed(STRIDES[:-1]):
            self.up.append(nn.ConvTranspose2d(channels[2 * stride], channels[stride], 2, stride=2))
            self.convolve.append(_unpadded(channels[2 * stride], channels[stride]))
        self.score = nn.Conv2d(width, num_classes, 1)
        he_initialise(self.convolve)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w), ``SHRINKAGE`` pixels smaller on each side."""
        x = features[STRIDES[-1]]
        for stride, up, convolve in zip(reversed(STRIDES[:-1]), self.up, self.convolve, strict=True):
            x, skip = up(x), features[stride]
            top, left = (skip.shape[-2] - x.shape[-2]) // 2, (skip.shape[-1] - x.shape[-1]) // 2
            x = convolve(torch.cat([skip[..., top : top + x.shape[-2], left : left + x.shape[-1]], x], dim=1))
        return self.score(x)


def mirrored_indices(first: int, last: int, size: int) -> Tensor:
    """Return the indices of the pixels ``first`` to ``last - 1`` of a line that is reflected at both ends repeatedly.

    Args:
        size: number of pixels of the line; ``first`` and ``last`` can lie outside.
    """
    period = max(1, 2 * (size - 1))
    position = torch.arange(first, last) % period
    return torch.minimum(position, period - position)


class PaperUNet(SegmentationNet):
    """The net of figure 1 (:meth:`core`) with the overlap-tile strategy of figure 2, which allows images of any size.

    Args:
        encoder: a :class:`PaperUNetEncoder`.
        decoder: :class:`PaperUNetDecoder`.
        num_classes: number of score maps.
        tile: side of a tile of scores, a multiple of 16, so that the poolings of all tiles lie on one grid and leave no
            seam. 384 takes 572 pixels, as in figure 1. Larger tiles take less time and more memory.
        options: further arguments of :class:`segment.models.SegmentationNet`.

    Raises:
        SegmentError: the tile is not a multiple of 16, or an option does not fit.

    Example:
        >>> net = PaperUNet(PaperUNetEncoder(width=4), PaperUNetDecoder, num_classes=2, tile=16)
        >>> net(torch.zeros(1, 3, 20, 30)).shape
        torch.Size([1, 2, 20, 30])
    """

    def __init__(self, encoder: Encoder, decoder: Any, num_classes: int, tile: int = 384, **options: Any) -> None:
        if tile < 16 or tile % 16:
            raise SegmentError(f"model.tile={tile}: expected a multiple of 16, such as 384")
        super().__init__(encoder, decoder, num_classes, **options)
        self.tile = tile

    def core(self, image: Tensor) -> Tensor:
        """Map (N,3,H,W) to (N,num_classes,H-184,W-184), such as 572 to 388; H and W are 12 plus a multiple of 16."""
        return self.decoder(self.encoder(image))

    def scores(self, image: Tensor) -> Tensor:
        """Map a normalised image (N,3,H,W) of any size to scores (N,num_classes,H,W), tile by tile."""
        height, width = image.shape[-2:]
        rows = [
            torch.cat([self._tile(image, top, left) for left in range(0, width, self.tile)], dim=-1)
            for top in range(0, height, self.tile)
        ]
        return torch.cat(rows, dim=-2)

    def _tile(self, image: Tensor, top: int, left: int) -> Tensor:
        """Return the scores of the tile at (top, left), without what lies beyond the image."""
        indices, kept = [], []
        for first, size in ((top, image.shape[-2]), (left, image.shape[-1])):
            kept.append(min(self.tile, size - first))
            output = kept[-1] + (4 - kept[-1]) % 16  # the sizes that the core can return are 4 plus a multiple of 16
            indices.append(mirrored_indices(first - SHRINKAGE, first + output + SHRINKAGE, size).to(image.device))
        return self.core(image[..., indices[0][:, None], indices[1]])[..., : kept[0], : kept[1]]
