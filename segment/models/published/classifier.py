"""A classifier as a fully convolutional net (Long et al., 2015, section 3.1 and figure 2)."""

from torch import nn
from torchvision.models import VGG


def convolutional_classifier(vgg: VGG) -> nn.Sequential:
    """torchvision's VGG with its linear layers as convolutions: a coarse map of class scores over an image of any size.

    Equal to the classifier on 224x224, where the map is one cell; each further cell is the classifier's answer
    to a window 32 pixels on ("tabby cat", channel 281 of ImageNet's 1000).

    Args:
        vgg: with the classifier's weights; its training mode is kept.

    Returns:
        A net from (N,3,H,W), 224 pixels at least on each side, to scores (N,classes,H//32-6,W//32-6).
    """
    layers: list[nn.Module] = [vgg.features]
    size, channels = 7, 512
    for layer in vgg.classifier:
        if isinstance(layer, nn.Linear):
            convolution = nn.Conv2d(channels, layer.out_features, size)
            weight = layer.weight.detach().view_as(convolution.weight)
            convolution.load_state_dict({"weight": weight, "bias": layer.bias.detach()})
            layers.append(convolution)
            size, channels = 1, layer.out_features
        else:
            layers.append(layer)
    return nn.Sequential(*layers).train(vgg.training)
