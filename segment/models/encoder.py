"""What every encoder is: stages that halve the resolution, and features keyed by stride."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Encoder(nn.Module):
    """A chain of stages; the output of each is the feature of its stride.

    Args:
        stages: stride (input pixels per feature, on each axis) and modules, in the order of computation.
        channels: number of channels of each stride's feature.

    Attributes:
        channels: the same, for whoever builds a decoder.
        multiple: the net pads its input to a multiple of this on both axes.
    """

    def __init__(self, stages: Sequence[tuple[int, nn.Module]], channels: Mapping[int, int], multiple: int = 1) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.multiple = multiple
        self.strides = [stride for stride, _ in stages]
        self.stages = nn.ModuleList(stage for _, stage in stages)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Normalised image (N,3,H,W) to features {stride: (N,channels,ceil(H/stride),ceil(W/stride))}."""
        features = {}
        for stride, stage in zip(self.strides, self.stages, strict=True):
            image = features[stride] = stage(image)
        return features
