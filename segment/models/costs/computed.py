"""Costs of a net as computed from the shapes of its tensors."""

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segment.models.net import SegmentationNet
from segment.models.whole import WholeNet


class ComputedCost(NamedTuple):
    """Cost of a net for one image.

    Attributes:
        parameters: number of weights.
        gmacs: billions of multiply-accumulate operations of a forward pass.
        training_memory: bytes that a training step keeps for the backward pass, without weights and optimiser.
        strides: strides of the encoder's features; empty for a net without an encoder.
        receptive_field: pixels on a side that the deepest feature sees; an upper bound for encoders with branches. None
            for a net without an encoder.
    """

    parameters: int
    gmacs: float
    training_memory: float
    strides: list[int]
    receptive_field: int | None


def compute_cost(net: SegmentationNet, height: int, width: int) -> ComputedCost:
    """Compute the cost of a net for one image of this size.

    The net itself is not changed, and can be on torch's meta device: built in ``with torch.device("meta")``, it takes
    no memory.
    """
    net = copy.deepcopy(net).to("meta")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    memory = _training_memory(net, height, width)
    net.eval()
    macs = _multiply_accumulates(net, height, width)
    whole = isinstance(net, WholeNet)  # its encoder gives the image alone
    strides, field = ([], None) if whole else (sorted(net.encoder.channels), _receptive_field(net))
    return ComputedCost(parameters, macs / 1e9, memory, strides, field)


def _training_memory(net: SegmentationNet, height: int, width: int) -> float:
    """Return the bytes per image of the tensors that autograd saves."""
    saved: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    images = torch.zeros(2, 3, height, width, device="meta")  # batch norms need more than one value
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        net.train()(images).sum()
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / len(images)


@torch.no_grad()
def _multiply_accumulates(net: SegmentationNet, height: int, width: int) -> float:
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, height, width, device="meta"))
    return counter.get_total_flops() / 2


@torch.no_grad()
def _receptive_field(net: SegmentationNet) -> int:
    """Add up the receptive field over the encoder's convolutions and poolings."""
    side, field = 1024, 1.0

    def grow(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Add (k - 1) * dilation * input stride, the growth of the receptive field."""
        nonlocal field
        kernel, dilation = (v if isinstance(v, int) else v[0] for v in (layer.kernel_size, layer.dilation))
        # Padding and rounding make sizes differ a little from those that the strides, powers of two, would give.
        field += (kernel - 1) * dilation * 2 ** round(math.log2(side / inputs[0].shape[-2]))

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(grow)
    net.encoder(torch.zeros(1, 3, side, side, device="meta"))
    return round(field)
