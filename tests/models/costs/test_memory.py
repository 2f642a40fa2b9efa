"""Memory of a forward pass against bytes counted by hand."""

import torch
from torch import nn

from segment.models.costs.memory import COPIES, LiveTensors, bytes_per_pixel


def test_live_tensors_are_counted_until_they_are_freed():
    with LiveTensors() as live:
        first = torch.zeros(1000)
        view = first[:10]
        assert live.current == 4000  # a view has the same storage
        second = first + 1
        assert live.current == live.peak == 8000
        del first, view
        assert (live.current, live.peak) == (4000, 8000)
        second.add_(1)
        assert live.current == 4000
    del second
    assert live.current == 0


def test_bytes_per_pixel():
    """At the peak lie the first layer's output and the second's: 8 and 4 planes of floats. The net stays as it is."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1), nn.BatchNorm2d(4)).eval()
    assert bytes_per_pixel(net[:2], side=64) == COPIES * 4 * (8 + 4)
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())
