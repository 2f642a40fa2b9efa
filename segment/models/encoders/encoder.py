"""The base class of encoders: a chain of stages whose outputs are the features."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from segment.models.normalization import NORMALIZATIONS

LAYOUTS = {
    "aligned": "resnet50",
    "rounded down": "unet_milesial",
    "FCN paper": "vgg16_fc_paper",
    "U-Net paper": "unet_paper",
    "SegNet": "segnet",
}
"""Layouts of features, each with an option of ``model/encoder`` that has it.

"aligned": cell i of stride s lies at the pixels s * i to s * (i + 1) - 1, and odd sizes are rounded up. "rounded down":
the same, but odd sizes are rounded down. "FCN paper": shifted by a padding of 100 pixels. "U-Net paper": without a
border, since its convolutions do not pad. "SegNet": positions of the poolings in place of features.
"""


class CeilMaxPool2d(nn.MaxPool2d):
    """A 2x2 max pooling in ceil mode, as in Caffe: no pixel of an odd side is lost."""

    def __init__(self) -> None:
        super().__init__(2, ceil_mode=True)

    def forward(self, input: Tensor) -> Tensor:
        """Halve the size of (N,C,H,W), rounded up."""
        if not torch.compiler.is_exporting():
            return super().forward(input)
        # Equivalent, and needed since torch.export's size rule for ceil mode holds for either odd or even sizes only.
        odd = (0, input.shape[-1] % 2, 0, input.shape[-2] % 2)
        return F.max_pool2d(F.pad(input, odd, value=float("-inf")), 2)


class Encoder(nn.Module):
    """A chain of stages; the output of each stage is the feature of its stride.

    Args:
        stages: stride (pixels per cell of the feature, on each axis) and module, in the order of computation.
        channels: number of channels of each stride's feature; decoders are built from them.
        pretrained: see below.

    Attributes:
        pretrained: whether the weights come from a file or a download; optimisers then use a lower learning rate.
        size_divisor: the net pads its input to a multiple of this on both axes; 1, since these stages round up.
        layout: position of the features in the image, one of ``LAYOUTS``.
        normalization: the normalisation that the weights were trained with.
        min_size: number of pixels that the shorter side of an image must have.
        checkpointing: whether training keeps the outputs of the stages only and computes the rest again in the backward
            pass: less memory for a third more time. (Batch norms then update their statistics twice per step.)

    Example:
        >>> encoder = Encoder([(1, nn.Conv2d(3, 8, 3, padding=1)), (2, CeilMaxPool2d())], channels={1: 8, 2: 8})
        >>> {stride: feature.shape for stride, feature in encoder(torch.zeros(1, 3, 5, 7)).items()}
        {1: torch.Size([1, 8, 5, 7]), 2: torch.Size([1, 8, 3, 4])}
    """

    layout = "aligned"
    normalization = NORMALIZATIONS["imagenet"]
    min_size = 1
    checkpointing = False
    size_divisor = 1

    def __init__(
        self, stages: Sequence[tuple[int, nn.Module]], channels: Mapping[int, int], pretrained: bool = False
    ) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.pretrained = pretrained
        self.strides = [stride for stride, _ in stages]
        self.stages = nn.ModuleList(stage for _, stage in stages)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Map a normalised image (N,3,H,W) to features {stride: (N,channels,ceil(H/stride),ceil(W/stride))}."""
        features = {}
        recompute = self.checkpointing and self.training
        for stride, stage in zip(self.strides, self.stages, strict=True):
            image = features[stride] = checkpoint(stage, image, use_reentrant=False) if recompute else stage(image)
        return features
