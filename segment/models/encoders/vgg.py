"""Encoders made of torchvision's VGGs (Simonyan & Zisserman, 2015)."""

from torch import nn
from torchvision.models import VGG

from segment.errors import SegmentError
from segment.models.encoders.encoder import CeilMaxPool2d, Encoder
from segment.models.weights import IMAGENET, as_convolution, he_initialise, torchvision_model


def vgg_blocks(features: nn.Sequential) -> list[list[nn.Module]]:
    """Return the five blocks of convolutions, without the poolings that end them."""
    blocks: list[list[nn.Module]] = [[]]
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
        else:
            blocks[-1].append(layer)
    return blocks[:-1]


class VGGEncoder(Encoder):
    """The convolutions of a VGG, strides 1 to 32; stride 32 is the last pooling.

    Args:
        name: vgg11, vgg13, vgg16, vgg19, or one of them with ``_bn``.
        weights: "imagenet", a file in torchvision's layout, or None.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # builds the shapes alone
        ...     VGGEncoder("vgg11", weights=None).channels
        {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512}
    """

    def __init__(self, name: str = "vgg16", weights: str | None = IMAGENET) -> None:
        model = torchvision_model(name, weights, VGG, unused=("classifier.",), init_weights=False)
        blocks = vgg_blocks(model.features)
        if weights is None:
            he_initialise(model.features)
        stages: list[tuple[int, nn.Module]] = [(1, nn.Sequential(*blocks[0]))]
        stages += [(2**k, nn.Sequential(CeilMaxPool2d(), *block)) for k, block in enumerate(blocks[1:], start=1)]
        stages.append((32, CeilMaxPool2d()))
        super().__init__(stages, {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512}, weights is not None)


class VGGFullyConvolutional(Encoder):
    """VGG16 with its fully connected layers as convolutions (Long et al., 2015, section 3.1).

    The features are those that the paper scores: the poolings at strides 2 to 16, and fc7 at stride 32.

    Args:
        weights: "imagenet", a file in torchvision's layout (its classifier is reshaped), or None.
        dropout: probability after fc6 and fc7.
        padding: padding of the first convolution. 1 keeps the features in place, and fc6 pads by 3. 100 is the paper's,
            where fc6 does not pad; it needs the paper's decoder, which crops accordingly.

    Raises:
        SegmentError: the padding is neither, or the weights do not fit.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # builds the shapes alone
        ...     VGGFullyConvolutional(weights=None, padding=100).layout
        'FCN paper'
    """

    def __init__(self, weights: str | None = IMAGENET, dropout: float = 0.5, padding: int = 1) -> None:
        if padding not in {1, 100}:
            raise SegmentError(f"model.encoder.padding={padding}: expected 1, or 100 as in the paper")
        model = torchvision_model("vgg16", weights, VGG, unused=("classifier.6.",), init_weights=False)
        model.features[0].padding = (padding, padding)
        fc6 = as_convolution(model.classifier[0], 512, padding=3 if padding == 1 else 0)
        fc7 = as_convolution(model.classifier[3], 4096)
        if weights is None:
            he_initialise(nn.ModuleList([model.features, fc6, fc7]))
        blocks = [nn.Sequential(*block, CeilMaxPool2d()) for block in vgg_blocks(model.features)]
        relu, drop = nn.ReLU(inplace=True), nn.Dropout(dropout)
        head = nn.Sequential(blocks[4], fc6, relu, drop, fc7, relu, drop)
        super().__init__(
            [(2, blocks[0]), (4, blocks[1]), (8, blocks[2]), (16, blocks[3]), (32, head)],
            {2: 64, 4: 128, 8: 256, 16: 512, 32: 4096},
            weights is not None,
        )
        self.layout = "aligned" if padding == 1 else "FCN paper"
