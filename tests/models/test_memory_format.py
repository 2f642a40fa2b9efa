"""Channels last, with the layers that corrupt the heap in torch itself."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from segment.models.memory_format import use_channels_last

TRAINING = """
import sys
import torch
from segment.models import FCNDecoder, SegmentationNet, TimmEncoder
net = SegmentationNet(TimmEncoder(sys.argv[1], weights=None), FCNDecoder, num_classes=3)
for _ in range(3):
    net(net.normalize(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))).mean().backward()
    filled = [torch.randn(1000 + i) for i in range(50)]
"""


@pytest.mark.slow
def test_a_net_with_a_strided_pointwise_layer_trains():
    """In a process of its own, which glibc ends when its heap is damaged. MobileOne and FastViT have the same layer."""
    environment = {**os.environ, "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", TRAINING, "repvgg_a0"], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(("channels", "stride", "size"), [(3, 2, (64, 64)), (7, (1, 4), (9, 64)), (3, 2, (63, 65))])
def test_a_strided_pointwise_layer_gives_the_same(channels, stride, size):
    layer, image = nn.Conv2d(channels, 5, 1, stride), torch.randn(2, channels, *size)
    expected = layer(image)
    use_channels_last(nn.Sequential(layer))
    assert layer.stride == (1, 1)
    torch.testing.assert_close(layer(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("layer", [nn.Conv2d(16, 5, 1, 2), nn.Conv2d(3, 5, 3, 2), nn.Conv2d(3, 5, 1, 2, padding=1)])
def test_other_layers_stay_as_they_are(layer):
    use_channels_last(layer)
    assert layer.stride == (2, 2)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
