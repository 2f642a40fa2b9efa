"""U-Net's own encoder (Ronneberger, Fischer & Brox, 2015)."""

import math

from torch import nn

from segment.errors import SegmentError
from segment.models.encoders.encoder import CeilMaxPool2d, Encoder
from segment.models.weights import he_initialise, load_file, load_state


def double_convolution(inputs: int, outputs: int, stride: int = 1, norm: str = "batch") -> nn.Sequential:
    """Build two 3x3 convolutions that keep the size, each with a norm and a ReLU; the first has the stride.

    Args:
        inputs, outputs: number of channels.
        stride: stride of the first convolution.
        norm: "batch", or "group" with 16 channels in a group (Wu & He, 2018).

    Raises:
        SegmentError: the norm is another one.
    """
    if norm not in {"batch", "group"}:
        raise SegmentError(f"model norm={norm}: expected batch or group")
    layers: list[nn.Module] = []
    for channels, step in ((inputs, stride), (outputs, 1)):
        convolution = nn.Conv2d(channels, outputs, 3, stride=step, padding=1, bias=False)
        normalised = (
            nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(outputs // math.gcd(16, outputs), outputs)
        )
        layers += [convolution, normalised, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNetEncoder(Encoder):
    """The contracting path: double convolutions between 2x2 max poolings; channels double with each.

    Args:
        width: channels of the first level (64 in the paper).
        first_stride: stride of the first level; 1 in the paper, 2 for a quarter of the work.
        depth: number of levels (5 in the paper).
        weights: a file with this encoder's state dict, or None; there are no ImageNet weights.
        ceil_mode: whether the poolings round odd sizes up, as the poolings of the other encoders do, or down.
        norm: "batch" or "group".

    Raises:
        SegmentError: an argument is out of range, or the weights do not fit.

    Example:
        >>> UNetEncoder(width=8, depth=3).channels
        {1: 8, 2: 16, 4: 32}
    """

    def __init__(
        self,
        width: int = 64,
        first_stride: int = 1,
        depth: int = 5,
        weights: str | None = None,
        ceil_mode: bool = True,
        norm: str = "batch",
    ) -> None:
        if weights == "imagenet":
            raise SegmentError("U-Net's own encoder has no ImageNet weights: use model.encoder.weights=null or a file")
        for key, value in {"width": width, "first_stride": first_stride, "depth": depth}.items():
            if value < 1:
                raise SegmentError(f"model.encoder.{key}={value}: expected a number from 1")
        stages, channels, inputs = [], {}, 3
        for level in range(depth):
            outputs, stride = width * 2**level, first_stride * 2**level
            block = double_convolution(inputs, outputs, 1 if level else first_stride, norm)
            if level:
                block.insert(0, CeilMaxPool2d() if ceil_mode else nn.MaxPool2d(2))
            stages.append((stride, block))
            channels[stride], inputs = outputs, outputs
        super().__init__(stages, channels, weights is not None)
        self.layout = "aligned" if ceil_mode else "rounded down"
        self.min_size = 1 if ceil_mode else first_stride * 2 ** (depth - 1)
        if weights is None:
            he_initialise(self)
        else:
            load_state(self, load_file(weights), weights)
