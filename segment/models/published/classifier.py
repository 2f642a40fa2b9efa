"""A classifier as a fully convolutional net (Long et al., 2015, section 3.1 and figure 2)."""

from torch import nn
from torchvision.models import VGG

from segment.models.weights import as_convolution


def convolutional_classifier(vgg: VGG) -> nn.Sequential:
    """Turn the linear layers of torchvision's VGG into convolutions: it then scores an image of any size.

    On 224x224 pixels the result is one cell, equal to the classifier's output. Each further cell is the classifier's
    output for a window 32 pixels further on ("tabby cat" is channel 281 of ImageNet's 1000).

    Args:
        vgg: the classifier with its weights; its mode (training or evaluation) is kept.

    Returns:
        A net from (N,3,H,W), 224 pixels or more on each side, to scores (N,classes,H//32-6,W//32-6).

    Example:
        >>> import torch, torchvision
        >>> with torch.device("meta"):  # builds the shapes alone
        ...     net = convolutional_classifier(torchvision.models.vgg11())
        ...     net(torch.zeros(1, 3, 256, 300)).shape
        torch.Size([1, 1000, 2, 3])
    """
    layers: list[nn.Module] = [vgg.features]
    channels = 512
    for layer in vgg.classifier:
        if isinstance(layer, nn.Linear):
            layers.append(as_convolution(layer, channels))
            channels = layer.out_features
        else:
            layers.append(layer)
    return nn.Sequential(*layers).train(vgg.training)
