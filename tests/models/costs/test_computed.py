"""Computed costs against numbers counted by hand."""

import pytest
import torch

from segment.models.costs.computed import ComputedCost, compute_cost
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.unet_encoder import UNetEncoder
from segment.models.net import SegmentationNet
from tests.models.conftest import build_net


def cost_of(*overrides: str, num_classes: int) -> ComputedCost:
    with torch.device("meta"):
        net = build_net(*overrides, "model.encoder.weights=null", num_classes=num_classes)
        return compute_cost(net, 224, 224)


def test_vgg16():
    """Simonyan & Zisserman's 15.3 G for the convolutions at 224x224, fc6 and fc7 on 7x7 cells, fc6's 404 pixels."""
    cost = cost_of("model=fcn32s", num_classes=21)
    convolutions = 15_346_630_656
    dense = 49 * (512 * 49 * 4096 + 4096 * 4096 + 4096 * 21)
    assert cost.gmacs == pytest.approx((convolutions + dense) / 1e9)
    assert cost.parameters == 14_714_688 + 102_764_544 + 16_781_312 + 4096 * 21 + 21
    assert cost.receptive_field == 404
    assert cost.strides == [2, 4, 8, 16, 32]


def test_resnet18():
    cost = cost_of("model=fcn32s", "model/encoder=resnet18", num_classes=2)
    assert cost.receptive_field == 435
    assert cost.gmacs == pytest.approx(1.814, abs=0.01)
    assert cost.training_memory > 0


def test_a_net_on_any_device_is_not_changed():
    net = SegmentationNet(UNetEncoder(width=4, depth=2), FCNDecoder, 2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    cost = compute_cost(net, 32, 48)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert compute_cost(net.to("meta"), 32, 48) == cost
    assert cost.receptive_field == 14  # 5 after two convolutions, 6 after the pooling, 10 and 14 after two at stride 2
