"""The encoder made of torchvision's MobileNetV2 (Sandler et al., 2018)."""

from torchvision.models import MobileNetV2

from segment.models.encoders.encoder import Encoder
from segment.models.weights import IMAGENET, torchvision_model


class MobileNetV2Encoder(Encoder):
    """MobileNetV2, strides 2 to 32; stride 32 is its last 1x1 convolution.

    Args:
        weights: "imagenet", a file in torchvision's layout, or None.

    Raises:
        SegmentError: the download fails, or the weights do not fit.

    Example:
        >>> MobileNetV2Encoder(weights=None).channels
        {2: 16, 4: 24, 8: 32, 16: 96, 32: 1280}
    """

    def __init__(self, weights: str | None = IMAGENET) -> None:
        layers = torchvision_model("mobilenet_v2", weights, MobileNetV2, unused=("classifier.",)).features
        cuts = {2: slice(0, 2), 4: slice(2, 4), 8: slice(4, 7), 16: slice(7, 14), 32: slice(14, 19)}
        stages = [(stride, layers[cut]) for stride, cut in cuts.items()]
        super().__init__(stages, {2: 16, 4: 24, 8: 32, 16: 96, 32: 1280}, weights is not None)
