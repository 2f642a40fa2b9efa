"""Measured costs against bytes counted by hand, and turns."""

from functools import partial

import pytest
import torch
from torch import nn

from segment.models.costs import measured
from segment.models.costs.measured import MOST_IMAGES, largest_batch, measure_costs, peak_memory, training_step
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from segment.prediction.inference import Inference


def test_peak_memory():
    """At the peak lie the float image, the first layer's output and its ReLU: 3, 8 and 8 planes of floats."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, image):
            return self.second(torch.relu(self.first(image)))

    net = Net()
    weights = 4 * sum(parameter.numel() for parameter in net.parameters())
    assert peak_memory(
        net, lambda image: net(image[None].float()), torch.zeros(3, 64, 80, dtype=torch.uint8)
    ) == weights + 4 * 64 * 80 * (3 + 8 + 8)


def build(width: int) -> SegmentationNet:
    return SegmentationNet(UNetEncoder(width=width, depth=2), FCNDecoder, 2).eval()


def test_nets_take_turns():
    nets = [build(4), build(8)]
    turns = []

    def record(net: SegmentationNet, image: torch.Tensor) -> torch.Tensor:
        turns.append(nets.index(net))
        return Inference().class_map(net, image)

    costs, description = measure_costs([(net, partial(record, net)) for net in nets], 32, 48)
    assert turns[:8] == [0, 1, 0, 1, 1, 0, 0, 1]  # once for the memory, then in alternating order
    assert [cost.parameters for cost in costs] == [sum(p.numel() for p in net.parameters()) for net in nets]
    assert all(cost.seconds > 0 for cost in costs)
    assert costs[1].memory > costs[0].memory > 0
    assert description.startswith("ms an image: 48x32 (width x height) pixels from bytes to classes by the protocol")
    assert "median of 11 " in description


def test_a_net_that_fails_has_its_error_and_the_others_their_costs():
    def fail(image: torch.Tensor) -> None:
        raise RuntimeError("not enough\nmemory")

    net = build(4)
    costs, description = measure_costs([(net, fail), (net, partial(Inference().class_map, net))], 32, 32)
    assert costs[0] == "not enough memory"
    assert costs[1].seconds > 0
    assert "median of 11 " in description
    assert measure_costs([(net, fail)], 32, 32)[0] == ["not enough memory"]


def test_three_rounds_are_enough_of_slow_nets(monkeypatch):
    monkeypatch.setattr(measured, "TIME_LIMIT", 0)
    net = build(4)
    assert "median of 3 alternating passes" in measure_costs([(net, partial(Inference().class_map, net))], 32, 32)[1]


@pytest.mark.parametrize("room", [0, 1, 2, 3, 37, 64, MOST_IMAGES])
def test_the_largest_batch_is_found_by_running_out_of_memory(room):
    tried = []

    def step(count: int) -> None:
        tried.append(count)
        if count > room:
            raise torch.OutOfMemoryError

    assert largest_batch(step) == room
    assert all(count <= max(2 * room, 1) for count in tried)  # a batch far too large may take a machine down
    assert len(tried) <= 14


def test_a_step_of_the_largest_batch_trains():
    net = build(4)
    before = [parameter.clone() for parameter in net.parameters()]
    training_step(net, 16, 20)(2)
    assert not all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_step_of_one_image_is_that_of_two_where_a_batch_norm_needs_them():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Upsample((16, 16)))
    training_step(pooled, 16, 16)(1)
    assert pooled[1].running_var.tolist() == pytest.approx([0.9] * 3)
