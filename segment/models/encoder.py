"""What every encoder is: stages that halve the resolution, and features keyed by stride."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Encoder(nn.Module):
    """A chain of stages; the output of each is the feature of its stride.

    Args:
        stages: stride (input pixels per feature, on each axis) and modules, in the order of computation.
        channels: number of channels of each stride's feature; decoders are built from them.

    Attributes:
        pretrained: whether its weights come from a file or a download; optimisers then go gently with it.
        multiple: the net pads its input to a multiple of this on both axes; 1, since these stages round up.
    """

    multiple = 1

    def __init__(
        self, stages: Sequence[tuple[int, nn.Module]], channels: Mapping[int, int], pretrained: bool = False
    ) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.pretrained = pretrained
        self.strides = [stride for stride, _ in stages]
        self.stages = nn.ModuleList(stage for _, stage in stages)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Normalised image (N,3,H,W) to features {stride: (N,channels,ceil(H/stride),ceil(W/stride))}."""
        features = {}
        for stride, stage in zip(self.strides, self.stages, strict=True):
            image = features[stride] = stage(image)
        return features
