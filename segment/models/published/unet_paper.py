"""U-Net as published (Ronneberger, Fischer & Brox, 2015): valid convolutions, mirrored borders, tiles."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segment.errors import SegmentError
from segment.models.encoders.encoder import Encoder
from segment.models.net import SegmentationNet
from segment.models.weights import he_initialise

MARGIN = 92
"""Pixels that the valid convolutions take away on each side: 572 in, 388 out."""
STRIDES = (1, 2, 4, 8, 16)


def _valid(inputs: int, outputs: int) -> nn.Sequential:
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), relu, nn.Conv2d(outputs, outputs, 3), relu)


class PaperUNetEncoder(Encoder):
    """The contracting path of figure 1; its features shrink by two pixels at each convolution.

    Args:
        width: channels of the first level, doubling with each of the five.
        dropout: at the end of the path (section 3.1).
        weights: None; :class:`PaperUNet` takes those of the whole net.
    """

    layout = "of the U-Net paper"

    def __init__(self, width: int = 64, dropout: float = 0.5, weights: str | None = None) -> None:
        if weights is not None:
            raise SegmentError("model.encoder.weights: the paper's U-Net has none of its own; use model.weights=FILE")
        channels = {stride: width * stride for stride in STRIDES}
        stages = [(1, _valid(3, width))]
        stages += [(s, nn.Sequential(nn.MaxPool2d(2), *_valid(channels[s // 2], channels[s]))) for s in STRIDES[1:]]
        stages[-1][1].append(nn.Dropout(dropout))
        super().__init__(stages, channels)
        he_initialise(self)


class PaperUNetDecoder(nn.Module):
    """The expanding path of figure 1: up-convolution, the middle of the skip, two valid convolutions.

    Args:
        channels: of the encoder's features, by stride.
        num_classes: number of score maps.

    Raises:
        SegmentError: another encoder than the paper's.
    """

    stride = 1
    offset = 0
    stretch = False
    layouts = ("of the U-Net paper",)

    def __init__(self, channels: Mapping[int, int], num_classes: int) -> None:
        super().__init__()
        width = channels.get(1, 0)
        if dict(channels) != {stride: width * stride for stride in STRIDES}:
            raise SegmentError("model=unet_paper is a net of its own: it goes with model/encoder=unet_paper alone")
        self.up, self.convolve = nn.ModuleList(), nn.ModuleList()
        for stride in reversed(STRIDES[:-1]):
            self.up.append(nn.ConvTranspose2d(channels[2 * stride], channels[stride], 2, stride=2))
            self.convolve.append(_valid(channels[2 * stride], channels[stride]))
        self.score = nn.Conv2d(width, num_classes, 1)
        he_initialise(self.convolve)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Features by stride to scores (N,num_classes,h,w), ``MARGIN`` pixels smaller than the image on each side."""
        x = features[STRIDES[-1]]
        for stride, up, convolve in zip(reversed(STRIDES[:-1]), self.up, self.convolve, strict=True):
            x, skip = up(x), features[stride]
            top, left = (skip.shape[-2] - x.shape[-2]) // 2, (skip.shape[-1] - x.shape[-1]) // 2
            x = convolve(torch.cat([skip[..., top : top + x.shape[-2], left : left + x.shape[-1]], x], dim=1))
        return self.score(x)


def mirrored(first: int, last: int, size: int) -> Tensor:
    """Indices for the pixels ``first`` to ``last - 1`` of a line of ``size`` that is mirrored at both ends for ever."""
    period = max(1, 2 * (size - 1))
    position = torch.arange(first, last) % period
    return torch.minimum(position, period - position)


class PaperUNet(SegmentationNet):
    """Figure 1's net (:meth:`core`) with the overlap-tile strategy of figure 2, so that any size works.

    Args:
        encoder, decoder: the paper's.
        num_classes: number of score maps.
        tile: side of a tile of scores, a multiple of 16, so that the poolings of all tiles lie on one grid and no
            seam is left. 384 takes 572 pixels, as in figure 1. Larger ones take less time and more memory.
        options: of :class:`segment.models.net.SegmentationNet`.

    Raises:
        SegmentError: a tile of another size.
    """

    def __init__(self, encoder: Encoder, decoder: Any, num_classes: int, tile: int = 384, **options: Any) -> None:
        if tile < 16 or tile % 16:
            raise SegmentError(f"model.tile={tile}: expected a multiple of 16, such as 384")
        super().__init__(encoder, decoder, num_classes, **options)
        self.tile = tile

    def core(self, image: Tensor) -> Tensor:
        """Normalised (N,3,H,W), H and W 16 times a number plus 12, to (N,num_classes,H-184,W-184): 572 to 388."""
        return self.decoder(self.encoder(image))

    def scores(self, image: Tensor) -> Tensor:
        """Normalised image (N,3,H,W) of any size to scores (N,num_classes,H,W), tile by tile."""
        height, width = image.shape[-2:]
        rows = [
            torch.cat([self._tile(image, top, left) for left in range(0, width, self.tile)], dim=-1)
            for top in range(0, height, self.tile)
        ]
        return torch.cat(rows, dim=-2)

    def _tile(self, image: Tensor, top: int, left: int) -> Tensor:
        """The scores from (top, left) on, of a whole tile or of what is left of the image."""
        lines, wanted = [], []
        for first, size in ((top, image.shape[-2]), (left, image.shape[-1])):
            wanted.append(min(self.tile, size - first))
            possible = wanted[-1] + (4 - wanted[-1]) % 16
            lines.append(mirrored(first - MARGIN, first + possible + MARGIN, size).to(image.device))
        return self.core(image[..., lines[0][:, None], lines[1]])[..., : wanted[0], : wanted[1]]
