"""Encoders made of torchvision's classifiers."""

from torch import nn
from torchvision.models import VGG, ResNet

from segment.errors import SegmentError
from segment.models.encoders.encoder import CeilMaxPool2d, Encoder
from segment.models.weights import IMAGENET, torchvision_model


def he_initialise(module: nn.Module) -> None:
    """He et al. (2015), section 2.2: what keeps the signal's variance through layers followed by a ReLU.

    At torch's default a VGG16 without batch norm is dead: all images give the same pool5.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _vgg_blocks(features: nn.Sequential) -> list[list[nn.Module]]:
    """The five blocks of convolutions between VGG's poolings, without the poolings."""
    blocks: list[list[nn.Module]] = [[]]
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
        else:
            blocks[-1].append(layer)
    return blocks[:-1]


def _expect(model: nn.Module, family: type[nn.Module], name: str) -> None:
    if not isinstance(model, family):
        raise SegmentError(f"model.encoder.name={name}: expected a {family.__name__} of torchvision")


class VGGEncoder(Encoder):
    """The convolutions of VGG (Simonyan & Zisserman, 2015), strides 1 to 32; stride 32 is the last pooling.

    Args:
        name: vgg11, vgg13, vgg16, vgg19, or one of them with ``_bn``.
        weights: "imagenet", a file in torchvision's layout, or None.
    """

    def __init__(self, name: str = "vgg16", weights: str | None = IMAGENET) -> None:
        model = torchvision_model(name, weights, unused=("classifier.",), init_weights=False)
        _expect(model, VGG, name)
        blocks = _vgg_blocks(model.features)
        if weights is None:
            he_initialise(model.features)
        stages: list[tuple[int, nn.Module]] = [(1, nn.Sequential(*blocks[0]))]
        stages += [(2**k, nn.Sequential(CeilMaxPool2d(), *block)) for k, block in enumerate(blocks[1:], start=1)]
        stages.append((32, CeilMaxPool2d()))
        super().__init__(stages, {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512}, weights is not None)


class VGGFullyConvolutional(Encoder):
    """VGG16 whose fully connected layers became convolutions (Long et al., 2015, section 3.1).

    Features are what the paper scores: the poolings at strides 2 to 16, fc7 at stride 32.

    Args:
        weights: "imagenet", a file in torchvision's layout (its classifier is reshaped), or None.
        dropout: after fc6 and fc7.
        padding: of the first convolution. 1 keeps the features in place, with fc6 padded by 3; 100 is the paper's,
            with fc6 unpadded, and wants the paper's decoder, which knows the crops.
    """

    def __init__(self, weights: str | None = IMAGENET, dropout: float = 0.5, padding: int = 1) -> None:
        if padding not in {1, 100}:
            raise SegmentError(f"model.encoder.padding={padding}: expected 1, or 100 as in the paper")
        model = torchvision_model("vgg16", weights, unused=("classifier.6.",), init_weights=False)
        model.features[0].padding = (padding, padding)
        fc6, fc7 = nn.Conv2d(512, 4096, 7, padding=3 if padding == 1 else 0), nn.Conv2d(4096, 4096, 1)
        if weights is None:
            he_initialise(nn.ModuleList([model.features, fc6, fc7]))
        else:
            for convolution, linear in ((fc6, model.classifier[0]), (fc7, model.classifier[3])):
                weight = linear.weight.detach().view_as(convolution.weight)
                convolution.load_state_dict({"weight": weight, "bias": linear.bias.detach()})
        blocks = [nn.Sequential(*block, CeilMaxPool2d()) for block in _vgg_blocks(model.features)]
        relu, drop = nn.ReLU(inplace=True), nn.Dropout(dropout)
        head = nn.Sequential(blocks[4], fc6, relu, drop, fc7, relu, drop)
        super().__init__(
            [(2, blocks[0]), (4, blocks[1]), (8, blocks[2]), (16, blocks[3]), (32, head)],
            {2: 64, 4: 128, 8: 256, 16: 512, 32: 4096},
            weights is not None,
        )
        self.layout = "aligned" if padding == 1 else "of the FCN papers"


class ResNetEncoder(Encoder):
    """ResNet (He et al., 2016), strides 2 to 32.

    Args:
        name: a torchvision network of this family (resnet18, resnet50, resnext50_32x4d, wide_resnet50_2, ...).
        weights: "imagenet", a file in torchvision's layout, or None.
        output_stride: 32, or 16 or 8: the last stages are dilated instead of strided (Chen et al., 2017). Their
            features then all have this stride, and the deepest counts.

    Raises:
        SegmentError: another stride, or a network that cannot be dilated.
    """

    def __init__(self, name: str = "resnet50", weights: str | None = IMAGENET, output_stride: int = 32) -> None:
        if output_stride not in {8, 16, 32}:
            raise SegmentError(f"model.encoder.output_stride={output_stride}: expected 8, 16 or 32")
        dilated = [False, output_stride == 8, output_stride <= 16]
        options = {"replace_stride_with_dilation": dilated} if any(dilated) else {}
        try:
            model = torchvision_model(name, weights, unused=("fc.",), **options)
        except NotImplementedError:  # of ResNets without bottlenecks
            raise SegmentError(f"model.encoder.output_stride={output_stride}: {name} has no dilation; use 32") from None
        _expect(model, ResNet, name)
        layers = [model.layer1, model.layer2, model.layer3, model.layer4]
        stages = [
            (2, nn.Sequential(model.conv1, model.bn1, model.relu)),
            (4, nn.Sequential(model.maxpool, layers[0])),
            *((min(2**k, output_stride), layer) for k, layer in enumerate(layers[1:], start=3)),
        ]
        expansion = layers[0][0].expansion  # 1 in basic blocks, 4 in bottlenecks
        # A later stage of the same stride takes the place of an earlier one, here and among the features.
        channels = {2: 64, **{min(stride, output_stride): 16 * stride * expansion for stride in (4, 8, 16, 32)}}
        super().__init__(stages, channels, weights is not None)


class MobileNetV2Encoder(Encoder):
    """MobileNetV2 (Sandler et al., 2018), strides 2 to 32; stride 32 is its last 1x1 convolution.

    Args:
        weights: "imagenet", a file in torchvision's layout, or None.
    """

    def __init__(self, weights: str | None = IMAGENET) -> None:
        layers = torchvision_model("mobilenet_v2", weights, unused=("classifier.",)).features
        cuts = {2: slice(0, 2), 4: slice(2, 4), 8: slice(4, 7), 16: slice(7, 14), 32: slice(14, 19)}
        stages = [(stride, layers[cut]) for stride, cut in cuts.items()]
        super().__init__(stages, {2: 16, 4: 24, 8: 32, 16: 96, 32: 1280}, weights is not None)
