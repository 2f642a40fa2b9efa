"""Encoders made of torchvision's ResNets (He et al., 2016)."""

from torch import nn
from torchvision.models import ResNet

from segment.errors import SegmentError
from segment.models.encoders.encoder import Encoder
from segment.models.weights import IMAGENET, torchvision_model


class ResNetEncoder(Encoder):
    """A ResNet, strides 2 to 32.

    Args:
        name: a torchvision network of this family (resnet18, resnet50, resnext50_32x4d, wide_resnet50_2, ...).
        weights: "imagenet", a file in torchvision's layout, or None.
        output_stride: 32; or 16 or 8 to dilate the last stages in place of their strides (Chen et al., 2017). Several
            stages then share a stride; the deepest gives the feature.

    Raises:
        SegmentError: the stride is another one, the network cannot be dilated, or the weights do not fit.

    Example:
        >>> ResNetEncoder("resnet18", weights=None).channels
        {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}
    """

    def __init__(self, name: str = "resnet50", weights: str | None = IMAGENET, output_stride: int = 32) -> None:
        if output_stride not in {8, 16, 32}:
            raise SegmentError(f"model.encoder.output_stride={output_stride}: expected 8, 16 or 32")
        dilated = [False, output_stride == 8, output_stride <= 16]
        options = {"replace_stride_with_dilation": dilated} if any(dilated) else {}
        try:
            model = torchvision_model(name, weights, ResNet, unused=("fc.",), **options)
        except NotImplementedError:  # by ResNets without bottlenecks
            raise SegmentError(f"model.encoder.output_stride={output_stride}: {name} has no dilation; use 32") from None
        layers = [model.layer1, model.layer2, model.layer3, model.layer4]
        stages = [
            (2, nn.Sequential(model.conv1, model.bn1, model.relu)),
            (4, nn.Sequential(model.maxpool, layers[0])),
            *((min(2**k, output_stride), layer) for k, layer in enumerate(layers[1:], start=3)),
        ]
        expansion = layers[0][0].expansion  # 1 in basic blocks, 4 in bottlenecks
        # A later stage replaces an earlier one of the same stride, here and among the features.
        channels = {2: 64, **{min(stride, output_stride): 16 * stride * expansion for stride in (4, 8, 16, 32)}}
        super().__init__(stages, channels, weights is not None)
