"""What every encoder is: stages that halve the resolution, and features keyed by stride."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from segment.models.normalization import NORMALIZATIONS


class CeilMaxPool2d(nn.MaxPool2d):
    """A 2x2 max pooling in ceil mode, as in Caffe: no pixel of an odd side is lost."""

    def __init__(self) -> None:
        super().__init__(2, ceil_mode=True)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return super().forward(input)
        # The same, but torch.export's rule of the size in ceil mode holds for odd or for even sizes alone.
        odd = (0, input.shape[-1] % 2, 0, input.shape[-2] % 2)
        return F.max_pool2d(F.pad(input, odd, value=float("-inf")), 2)


class Encoder(nn.Module):
    """A chain of stages; the output of each is the feature of its stride.

    Args:
        stages: stride (input pixels per feature, on each axis) and modules, in the order of computation.
        channels: number of channels of each stride's feature; decoders are built from them.

    Attributes:
        pretrained: whether its weights come from a file or a download; optimisers then go gently with it.
        multiple: the net pads its input to a multiple of this on both axes; 1, since these stages round up.
        layout: "aligned", since the features of a stride lie where its cells do, and odd sizes are rounded up. Nets
            as published may have others, and decoders of their own.
        normalization: what pixels its weights were trained on, as in ``NORMALIZATIONS``.
        minimum: pixels that the shorter side of an image must have at least.
        checkpointing: in training, keep only the stages' outputs and compute the rest again on the way back: less
            memory for a third more time. (Running statistics of batch norms then move twice per step.)
    """

    layout = "aligned"
    normalization = NORMALIZATIONS["imagenet"]
    minimum = 1
    checkpointing = False

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
            again = self.checkpointing and self.training
            image = features[stride] = checkpoint(stage, image, use_reentrant=False) if again else stage(image)
        return features
