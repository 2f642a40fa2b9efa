"""An encoder: features in a dictionary keyed by stride."""

from torch import nn

from segment.models import Encoder


class TinyEncoder(Encoder):
    """Three convolutions of stride 2, with features at strides 2, 4 and 8."""

    def __init__(self, width: int = 16) -> None:
        stages, channels, previous = [], {}, 3
        for stride in (2, 4, 8):
            channels[stride] = width * stride
            convolution = nn.Conv2d(previous, channels[stride], 3, stride=2, padding=1)
            stages.append((stride, nn.Sequential(convolution, nn.BatchNorm2d(channels[stride]), nn.ReLU())))
            previous = channels[stride]
        super().__init__(stages, channels)
