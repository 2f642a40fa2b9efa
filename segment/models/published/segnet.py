"""SegNet exactly as published (Badrinarayanan, Kendall & Cipolla, 2017; ``segnet_train.prototxt`` of its authors)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.models import VGG
from torchvision.models.vgg import cfgs, make_layers

from segment.errors import SegmentError
from segment.models.decoders.fcn import crop
from segment.models.decoders.upsampling import (
    UPSAMPLINGS,
    check_upsampling,
    initialise_transposed,
    upsampling_layer,
)
from segment.models.encoders.encoder import Encoder
from segment.models.encoders.vgg import vgg_blocks
from segment.models.weights import IMAGENET, he_initialise, torchvision_model

VGG_WIDTH = 64
"""Channels of VGG16's first level."""


class PositionMaxPool2d(nn.MaxPool2d):
    """A 2x2 max pooling that also returns where it took its values; odd sizes are rounded up.

    Example:
        >>> values, positions = PositionMaxPool2d()(torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]]))
        >>> values.item(), positions.item()
        (5.0, 1)
    """

    def __init__(self) -> None:
        super().__init__(2, return_indices=True)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values (N,C,h,w) and their positions, int64 (N,C,h,w).

        A position is an index into the rows, one after the other, of a map of 2h x 2w.
        """
        odd = (0, input.shape[-1] % 2, 0, input.shape[-2] % 2)
        if torch.compiler.is_exporting() or any(odd):
            input = F.pad(input, odd, value=float("-inf"))
        return super().forward(input)  # type: ignore[return-value]  # torch declares the pooling without indices


def unpool(values: Tensor, positions: Tensor) -> Tensor:
    """Put values (N,C,h,w) at their positions in a map (N,C,2h,2w) that is zero elsewhere.

    torch's own max unpooling refuses ``trainer.deterministic=true``, and ONNX has none that torch can write.
    """
    count, channels, height, width = values.shape
    flat = values.new_zeros(count, channels, 4 * height * width)
    flat = flat.scatter(2, positions.flatten(2), values.flatten(2))
    return flat.view(count, channels, 2 * height, 2 * width)


class SegNetEncoder(Encoder):
    """The 13 convolutions of VGG16 with batch norm, and poolings that return their positions.

    Args:
        width: channels of the first level; VGG16 has 64, for which alone there are weights.
        weights: "imagenet", a file in torchvision's layout of ``vgg16_bn``, or None.

    Raises:
        SegmentError: the width is below 1, has no weights, or the weights do not fit.

    Example:
        >>> SegNetEncoder(width=4, weights=None).channels
        {1: 4, 2: 8, 4: 16, 8: 32, 16: 32, 32: 32}
    """

    layout = "SegNet"
    size_divisor = 2  # the decoder learns the sizes of all levels but the first from the positions

    def __init__(self, width: int = VGG_WIDTH, weights: str | None = IMAGENET) -> None:
        if width < 1 or (weights is not None and width != VGG_WIDTH):
            expected = "a number from 1" if width < 1 else f"{VGG_WIDTH}, or model.encoder.weights=null"
            raise SegmentError(f"model.encoder.width={width}: expected {expected}")
        if weights is None:
            features = make_layers([v // VGG_WIDTH * width if isinstance(v, int) else v for v in cfgs["D"]], True)
            he_initialise(features)
        else:
            features = torchvision_model("vgg16_bn", weights, VGG, unused=("classifier.",), init_weights=False).features
        stages = [(2**level, nn.Sequential(*block)) for level, block in enumerate(vgg_blocks(features))]
        channels = {1: width, 2: 2 * width, 4: 4 * width, 8: 8 * width, 16: 8 * width, 32: 8 * width}
        super().__init__(stages, channels, weights is not None)
        self.pool = PositionMaxPool2d()

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Map a normalised image (N,3,H,W), H and W even, to the deepest feature, at stride 32, and positions.

        At each finer stride are the positions, int64, where the pooling of that stride's feature took its values.
        """
        features = {}
        recompute = self.checkpointing and self.training
        for stride, stage in zip(self.strides, self.stages, strict=True):
            image = checkpoint(stage, image, use_reentrant=False) if recompute else stage(image)
            image, features[stride] = self.pool(image)
        return {**features, 2 * self.strides[-1]: image}


class SegNetDecoder(nn.Module):
    """The encoder mirrored: each level unpools, then convolves as often as VGG16; the last convolution gives scores.

    Args:
        channels: number of channels of the encoder's features, by stride.
        num_classes: number of score maps.
        upsampling: "unpooling" as published, or one that does not use the positions: "bilinear" as in the paper's
            table 1, "nearest" or "transposed".

    Raises:
        SegmentError: ``upsampling`` is unknown.

    Example:
        >>> encoder = SegNetEncoder(width=4, weights=None)
        >>> SegNetDecoder(encoder.channels, num_classes=2)(encoder(torch.zeros(2, 3, 64, 50))).shape
        torch.Size([2, 2, 64, 50])
    """

    stride = 1
    offset = 0
    resize_to_image = False
    layouts = ("SegNet",)

    def __init__(self, channels: Mapping[int, int], num_classes: int, upsampling: str = "unpooling") -> None:
        super().__init__()
        check_upsampling(upsampling, (*UPSAMPLINGS, "unpooling"))
        self.strides = sorted(channels, reverse=True)[1:]
        self.up, self.convolve = nn.ModuleList(), nn.ModuleList()
        for stride in self.strides:
            inputs, outputs = channels[stride], channels.get(stride // 2, channels[stride])
            if upsampling != "unpooling":
                self.up.append(upsampling_layer(upsampling, inputs, inputs, 2))
            # The score is the last convolution of stride 1.
            widths = [inputs] * (2 if stride >= 4 else 1) + [outputs] * (stride > 1)
            self.convolve.append(make_mirrored(inputs, widths))
        self.score = nn.Conv2d(channels[min(channels)], num_classes, 3, padding=1)
        he_initialise(self)
        initialise_transposed(self.up)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map the features of :class:`SegNetEncoder` to scores (N,num_classes,H,W)."""
        x = features[2 * self.strides[0]]
        for level, (stride, convolve) in enumerate(zip(self.strides, self.convolve, strict=True)):
            x = self.up[level](x) if self.up else unpool(x, features[stride])
            if stride > 1:  # the size of this level, which its pooling rounded up
                x = crop(x, *features[stride // 2].shape[-2:])
            x = convolve(x)
        return self.score(x)


def make_mirrored(inputs: int, widths: list[int]) -> nn.Sequential:
    """Build 3x3 convolutions of these numbers of outputs, each with a batch norm and a ReLU."""
    layers: list[nn.Module] = []
    for outputs in widths:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)
