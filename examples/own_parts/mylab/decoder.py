"""A decoder: from features to scores."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F


class SummedDecoder(nn.Module):
    """Resize all features to the finest one, add them, and score the sum."""

    offset = 0
    resize_to_image = False
    layouts = ("aligned",)

    def __init__(self, channels: Mapping[int, int], num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.stride = min(channels)
        self.reduce = nn.ModuleDict({str(s): nn.Conv2d(c, width, 1) for s, c in channels.items()})
        self.score = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Mapping[int, Tensor]) -> Tensor:
        size = features[self.stride].shape[-2:]
        resized = [F.interpolate(self.reduce[str(s)](x), size, mode="bilinear") for s, x in features.items()]
        return self.score(sum(resized).relu())
