"""The heads of torchvision's DeepLabV3 and LR-ASPP, with torchvision's own code."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.lraspp import LRASPPHead

from segment.errors import SegmentError


class DeepLabDecoder(nn.Module):
    """The head of torchvision's ``deeplabv3_*`` (Chen et al., 2017): parallel dilated convolutions, then scores.

    In training it needs batches of two images or more: its pooled features have one value per image.

    Args:
        channels: number of channels of the encoder's features, by stride; the deepest is scored.
        num_classes: number of score maps.

    Example:
        >>> import torch
        >>> DeepLabDecoder(channels={8: 16}, num_classes=2)({8: torch.zeros(2, 16, 4, 4)}).shape
        torch.Size([2, 2, 4, 4])
    """

    offset = 0
    resize_to_image = True  # as torchvision does
    layouts = ("aligned",)

    def __init__(self, channels: Mapping[int, int], num_classes: int) -> None:
        super().__init__()
        self.stride = max(channels)
        self.head = DeepLabHead(channels[self.stride], num_classes)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w) at ``stride``."""
        scores: Tensor = self.head(features[self.stride])
        return scores


class LRASPPDecoder(nn.Module):
    """The head of torchvision's ``lraspp_mobilenet_v3_large`` (Howard et al., 2019).

    Args:
        channels: number of channels of the encoder's features, by stride; the two deepest are scored.
        num_classes: number of score maps.

    Raises:
        SegmentError: the encoder has one stride only.

    Example:
        >>> import torch
        >>> features = {8: torch.zeros(2, 4, 8, 8), 16: torch.zeros(2, 16, 4, 4)}
        >>> LRASPPDecoder(channels={8: 4, 16: 16}, num_classes=2)(features).shape
        torch.Size([2, 2, 8, 8])
    """

    offset = 0
    resize_to_image = True  # as torchvision does
    layouts = ("aligned",)

    def __init__(self, channels: Mapping[int, int], num_classes: int) -> None:
        super().__init__()
        if len(channels) < 2:
            raise SegmentError("this decoder needs an encoder with two strides: use model/encoder=mobilenet_v3_dilated")
        self.stride, self.deepest = sorted(channels)[-2:]
        self.head = LRASPPHead(channels[self.stride], channels[self.deepest], num_classes, inter_channels=128)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w) at ``stride``."""
        scores: Tensor = self.head({"low": features[self.stride], "high": features[self.deepest]})
        return scores
