"""What nets cost, against figures counted by hand."""

import pytest
import torch
import torchvision
from torch import nn

from segment.models.published.classifier import convolutional_classifier
from segment.summary import measure
from tests.conftest import Run


def test_vgg16s_figures():
    """Simonyan & Zisserman's 15.3 G for the convolutions at 224x224, fc6 and fc7 on 7x7 cells, fc6's 404 pixels."""
    cost = measure(["model=fcn32s"], 21, 224, 224)
    convolutions = 15_346_630_656
    dense = 49 * (512 * 49 * 4096 + 4096 * 4096 + 4096 * 21)
    assert cost.gmacs == pytest.approx((convolutions + dense) / 1e9)
    assert cost.parameters == 14_714_688 + 102_764_544 + 16_781_312 + 4096 * 21 + 21
    assert cost.field == 404
    assert cost.strides == [2, 4, 8, 16, 32]


def test_resnet18s_figures():
    cost = measure(["model=fcn32s", "model/encoder=resnet18"], 2, 224, 224)
    assert cost.field == 435
    assert cost.gmacs == pytest.approx(1.814, abs=0.01)
    assert cost.memory > 0


def test_the_entry_point(run: Run):
    table = run(
        "summary", "models=[fcn_small,fcn8s_paper]", "encoders=[unet_small,vgg16_fc_paper]", "size=[64,64]"
    ).stdout
    assert "134.49" in table
    assert "fcn_small with vgg16_fc_paper: the encoder's features are of the FCN papers" in table
    wrong = run("summary", "models=[fcn9]", check=False)
    assert wrong.returncode == 1
    assert "Could not find 'model/fcn9'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("name", ["vgg11", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_the_classifier_as_a_map(name):
    """One cell at 224x224 equals the classifier; each further cell is its answer 32 pixels on."""
    vgg = getattr(torchvision.models, name)(weights=None, init_weights=False).eval()
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
