"""The encoder made of torchvision's MobileNetV3 (Howard et al., 2019)."""

from torchvision.models import MobileNetV3

from segment.errors import SegmentError
from segment.models.encoders.encoder import Encoder
from segment.models.weights import IMAGENET, torchvision_model

CUTS = (2, 4, 5, 13, 17)
"""Number of layers up to each feature. That of stride 8 is the first one of its stride, as LR-ASPP takes it."""


class MobileNetV3Encoder(Encoder):
    """MobileNetV3 (large), strides 2 to 32.

    Args:
        weights: "imagenet", a file in torchvision's layout, or None.
        output_stride: 32; or 16 to dilate the last stage in place of its stride.

    Raises:
        SegmentError: the stride is another one, the download fails, or the weights do not fit.

    Example:
        >>> MobileNetV3Encoder(weights=None).channels
        {2: 16, 4: 24, 8: 40, 16: 112, 32: 960}
    """

    def __init__(self, weights: str | None = IMAGENET, output_stride: int = 32) -> None:
        if output_stride not in {16, 32}:
            raise SegmentError(f"model.encoder.output_stride={output_stride}: expected 16 or 32")
        options = {"dilated": True} if output_stride == 16 else {}
        name = "mobilenet_v3_large"
        layers = torchvision_model(name, weights, MobileNetV3, unused=("classifier.",), **options).features
        parts = [layers[first:last] for first, last in zip((0, *CUTS), CUTS, strict=False)]
        strides = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
        # The last stage replaces the one before it where both have one stride, here and among the features.
        channels = dict(zip(strides, (16, 24, 40, 112, 960), strict=True))
        super().__init__([*zip(strides, parts, strict=True)], channels, weights is not None)
