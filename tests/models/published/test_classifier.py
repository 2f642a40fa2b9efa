"""The fully convolutional classifier against torchvision's classifier."""

import pytest
import torch
import torchvision
from torch import nn

from segment.models.published.classifier import convolutional_classifier


@pytest.mark.slow
def test_each_cell_is_the_classifiers_output():
    """On 224x224 pixels the result is one cell. Each further cell belongs to a window 32 pixels further on."""
    vgg = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    for layer in vgg.classifier:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
    net = convolutional_classifier(vgg)
    image = torch.randn(1, 3, 256, 300)
    with torch.no_grad():
        found = net(image)
        assert found.shape == (1, 1000, 2, 3)
        assert torch.allclose(net(image[..., :224, :224])[..., 0, 0], vgg(image[..., :224, :224]), atol=1e-5)
    assert not net.training
