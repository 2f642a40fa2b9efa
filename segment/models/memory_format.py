"""The memory format of nets, channels last, and two faults of torch with it."""

import torch
from torch import Tensor, nn


def use_channels_last(net: nn.Module) -> None:
    """Store a net's weights with channels last: most nets are faster so on CPUs, and tensor cores need it.

    On Apple's GPUs nothing changes: there the gradients of batch norms are wrong or end in an error
    (pytorch/pytorch#175189), and those of convolutions are slow (#193349).
    """
    if torch.backends.mps.is_available():
        return
    net.to(memory_format=torch.channels_last)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and _corrupts_the_heap(layer):
            layer.register_forward_pre_hook(_Subsampling(layer.stride))
            layer.stride = (1, 1)


def _corrupts_the_heap(layer: nn.Conv2d) -> bool:
    """Return whether the layer's backward pass may write beyond its memory, on a CPU and with channels last.

    Seen with torch 2.15: a 1x1 convolution with a stride that divides the image's size, without padding, on 2 to 7
    channels. That is fewer than a vector of AVX2 holds; one of AVX-512 holds 16. timm's RepVGG, MobileOne and FastViT
    have such a layer on the image's channels.
    """
    is_pointwise = layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.padding in {(0, 0), "valid"}
    return is_pointwise and layer.in_channels < 16


class _Subsampling:
    """Take every n-th row and column of a layer's input, as the stride of a 1x1 convolution does."""

    def __init__(self, stride: tuple[int, ...]) -> None:
        self.rows, self.columns = stride

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0][..., :: self.rows, :: self.columns]
