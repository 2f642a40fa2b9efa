"""Ways to make a feature larger inside a decoder."""

from collections.abc import Sequence

from torch import nn

from segment.errors import SegmentError

UPSAMPLINGS = ("nearest", "bilinear", "transposed")
"""Ways that need nothing but the feature itself."""


def check_upsampling(kind: str, known: Sequence[str] = UPSAMPLINGS) -> None:
    """Check the name of a way to upsample.

    Raises:
        SegmentError: it is not one of ``known``.
    """
    if kind not in known:
        raise SegmentError(f"model.decoder.upsampling={kind}: expected {', '.join(known[:-1])} or {known[-1]}")


def upsampling_layer(kind: str, inputs: int, outputs: int, factor: int) -> nn.Module:
    """Build a layer from (N,inputs,h,w) to (N,C,factor*h,factor*w): C is ``outputs`` for "transposed", else ``inputs``.

    A transposed convolution has a kernel of the size of its stride, as the up-convolutions of the U-Net paper.
    """
    if kind == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, factor, stride=factor)
    return nn.Upsample(scale_factor=factor, mode=kind)


def initialise_transposed(layers: nn.ModuleList) -> None:
    """Initialise transposed convolutions so that they keep the variance of the coarser level.

    With torch's default it shrinks sixfold at each level, and a net with skips learns from the shallow ones alone for
    its first hundreds of steps.
    """
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)
