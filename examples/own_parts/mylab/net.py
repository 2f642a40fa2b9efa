"""A whole net: from images to scores, without a separate encoder."""

from torch import Tensor, nn


class TinyNet(nn.Module):
    """Halve the image twice, and enlarge the scores again."""

    size_divisor = 4  # images are padded to multiples of 4 pixels

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, num_classes, 8, stride=4, padding=2),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)
