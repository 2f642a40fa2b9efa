"""A net of another library for images of any size: padding, enlarging, cropping."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.models.decoders.fcn import crop, upsample
from segment.models.normalization import NORMALIZATIONS, Normalization
from segment.models.whole import WholeNet

MAX_PROBE = 512
"""Largest side, in pixels, that is tried as the smallest one that a net takes."""


class SizeRule(NamedTuple):
    """Sizes of images that a net takes.

    Attributes:
        multiple: number of pixels that divides each side.
        minimum: smallest side.
        factor: pixels of a side for each score.
    """

    multiple: int
    minimum: int
    factor: int


class AnySize(nn.Module):
    """A net that pads its image right and bottom, and enlarges and crops its scores.

    Args:
        net: maps images (N,3,H,W), whose sides obey a :class:`SizeRule`, to scores, or to an object with ``logits``.
        multiple: number of pixels that divides each side; twice or four times as many are tried, too.
        name: name of the net, for errors.

    Raises:
        SegmentError: the net takes images of some sizes only.

    Example:
        >>> net = AnySize(nn.Conv2d(3, 2, 3, stride=4), multiple=32, name="a convolution")
        >>> net.rule, net(torch.zeros(1, 3, 33, 5)).shape
        (SizeRule(multiple=32, minimum=32, factor=4), torch.Size([1, 2, 33, 5]))
    """

    def __init__(self, net: nn.Module, multiple: int, name: str) -> None:
        super().__init__()
        self.net = net
        self.normalization = NORMALIZATIONS["imagenet"]
        self.rule = find_rule(net, multiple, name)
        freeze_unused(net, self.rule.minimum)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N,3,H,W), H and W of any size, to scores (N,classes,H,W), bilinear in 32 bits or more."""
        height, width = image.shape[-2:]
        pad_y, pad_x = (self._padding(side) for side in (height, width))
        scores = read_scores(self.net(F.pad(image, (0, pad_x, 0, pad_y))))
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return crop(upsample(wide, self.rule.factor), height, width)

    def _padding(self, side: int) -> int:
        """Return the pixels that a side lacks."""
        multiple, minimum, _ = self.rule
        # As a number of cells, the form from which torch.export finds the sizes of all features.
        cells: Any = (side + multiple - 1) // multiple
        if minimum > multiple:
            cells = torch.sym_max(cells, minimum // multiple)  # max would fix the size of an exported program
        padding: int = cells * multiple - side
        return padding


def read_scores(output: Any) -> Tensor:
    """Return the scores in the output of a net."""
    return output if isinstance(output, Tensor) else output.logits


@torch.no_grad()
def find_rule(net: nn.Module, multiple: int, name: str) -> SizeRule:
    """Find by trials the sizes of images that a net takes: smallest multiple first, then smallest side.

    Raises:
        SegmentError: the net fails at all of them, or its scores have no fixed stride.
    """
    net.eval()
    reason = ""
    for step in (multiple, 2 * multiple, 4 * multiple):
        least = step
        while least <= max(MAX_PROBE, step):
            try:
                return SizeRule(step, least, _factor(net, step, least))
            except Exception as error:  # a net may raise anything
                reason = " ".join(str(error).split())[:150]
            least *= 2
    raise SegmentError(
        f"{name} fails at all sizes of images that were tried: {reason}; a net for one size, or for square images "
        "alone, cannot be used; otherwise look at its configuration"
    )


def _factor(net: nn.Module, step: int, least: int) -> int:
    """Return the pixels of a side for each score, the same at several sizes that are not square.

    Raises:
        ValueError: they differ, or are no whole number.
    """
    factors = set()
    for height, width in ((least, least + step), (least + 2 * step, least + step)):
        rows, columns = read_scores(net(torch.zeros(1, 3, height, width))).shape[-2:]
        factors |= {height / rows, width / columns}
    if len(factors) != 1 or not (factor := factors.pop()).is_integer():
        raise ValueError(f"scores of {rows}x{columns} for an image of {height}x{width}")
    return int(factor)


@torch.enable_grad()
def freeze_unused(net: nn.Module, side: int) -> None:
    """Freeze the parameters that the scores do not depend on: several processes would wait for their gradients."""
    read_scores(net(torch.zeros(1, 3, side, side))).sum().backward()
    for parameter in net.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
    net.zero_grad()


class AdaptedNet(WholeNet):
    """A net of another library.

    Args:
        net: see :class:`AnySize`.
        num_classes: number of score maps.
        normal: normalisation that the net was pre-trained with.
        normalization, weights: see :class:`segment.models.SegmentationNet`.
        trunk: name of the part of the net that is mostly pre-trained.
        pretrained: whether it is.
        multiple, name: see :class:`AnySize`.
        stride: pixels per cell of the net's coarsest features.

    Raises:
        SegmentError: the net takes images of some sizes only, or the weights do not fit.
    """

    inside = "decoder.net.net."
    """Beginning of the keys of the library's own net."""

    def __init__(
        self,
        net: nn.Module,
        num_classes: int,
        normal: Normalization,
        normalization: str | Mapping[str, Any] | None,
        weights: str | None,
        trunk: str,
        pretrained: bool,
        multiple: int,
        stride: int,
        name: str,
    ) -> None:
        self.trunk = f"{self.inside}{trunk}."
        wrapped = AnySize(net, multiple, name)
        wrapped.normalization = normal
        super().__init__(wrapped, num_classes, normalization, weights, stride=stride)
        self.encoder.pretrained = self.encoder.pretrained or pretrained
