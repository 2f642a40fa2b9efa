"""The head of torchvision's FCNs exactly as published."""

from collections.abc import Mapping

from torch import Tensor, nn


class FCNHead(nn.Module):
    """The head of torchvision's ``fcn_resnet50`` and ``fcn_resnet101``: a 3x3 convolution, then scores.

    Args:
        channels: number of channels of the encoder's features, by stride; the deepest is scored.
        num_classes: number of score maps.
        dropout: probability before the scores.

    Attributes:
        stride: stride of the scores that the decoder returns: the encoder's deepest.

    Example:
        >>> import torch
        >>> FCNHead(channels={8: 16}, num_classes=2)({8: torch.zeros(2, 16, 4, 4)}).shape
        torch.Size([2, 2, 4, 4])
    """

    offset = 0
    resize_to_image = True  # as torchvision does
    layouts = ("aligned",)

    def __init__(self, channels: Mapping[int, int], num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.stride = max(channels)
        width = channels[self.stride] // 4
        self.mix = nn.Sequential(
            nn.Conv2d(channels[self.stride], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.score = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features keyed by stride to scores (N,num_classes,h,w) at ``stride``."""
        return self.score(self.mix(features[self.stride]))
