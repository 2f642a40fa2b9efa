"""What nets cost, without running them: ``python -m segment.summary models=[fcn8s,unet] encoders=[resnet50]``."""

import math
from typing import Any, NamedTuple

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from segment.cli.config import entry_point, instantiate, load_config, options, plain
from segment.cli.value_types import check_value
from segment.errors import SegmentError


class Cost(NamedTuple):
    """Of one net for one image: what it has, what it computes, what it sees."""

    parameters: int
    gmacs: float
    memory: float
    strides: list[int]
    field: int


def summary(config: DictConfig) -> None:
    """A table of model x encoder."""
    for key, kind in {"models": list[str] | None, "encoders": list[str] | None, "size": list[int]}.items():
        check_value(key, plain(config[key]), kind)
    check_value("num_classes", config.num_classes, int)
    if config.num_classes < 1:
        raise SegmentError(f"num_classes={config.num_classes}: expected a number from 1")
    models = list(config.models or options("model"))
    notes = [
        "memory: what one image's training step keeps for the way back, in 32 bits, without weights and optimiser",
        "field: receptive field, pixels on a side that the deepest feature sees; of branching encoders an upper bound",
    ]
    size = plain(config.size)
    if len(size) != 2 or min(size) < 32:
        raise SegmentError(f"size={size}: expected [HEIGHT,WIDTH], each from 32")
    height, width = size
    table = Table(title=f"{height}x{width} pixels (height x width), {config.num_classes} classes", title_justify="left")
    for name in ("model", "encoder", "params M", "GMACs", "memory GB", "strides", "field"):
        table.add_column(name, justify="left" if name in {"model", "encoder", "strides"} else "right", no_wrap=True)
    for model in models:
        for encoder in list(config.encoders) if config.encoders else [None]:
            words = [f"model={model}", *([f"model/encoder={encoder}"] if encoder else [])]
            name = encoder or load_config(words).model.encoder._target_.rpartition(".")[2]
            try:
                cost = measure(words, config.num_classes, height, width)
            except SegmentError as error:
                if len(models) * len(config.encoders or [1]) == 1:
                    raise
                table.add_row(model, name, *["-"] * 5)
                notes.append(f"{model} with {name}: {error}")
                continue
            table.add_row(
                model,
                name,
                f"{cost.parameters / 1e6:.2f}",
                f"{cost.gmacs:.1f}",
                f"{cost.memory / 1e9:.2f}",
                " ".join(map(str, cost.strides)),
                str(cost.field),
            )
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)
    print(*notes, sep="\n")


def measure(words: list[str], num_classes: int, height: int, width: int) -> Cost:
    """The cost of the net that the words compose, computed from shapes alone (torch's meta device)."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    field: list[float] = [1.0]
    held: dict[int, torch.Tensor] = {}

    def grow(layer: Any, inputs: tuple, output: Any) -> None:
        """A layer of kernel k sees k - 1 cells of its input more, each as large as the image over the input's size."""
        kernel, dilation = (v if isinstance(v, int) else v[0] for v in (layer.kernel_size, layer.dilation))
        # Padding and rounding make sizes differ a little from what the strides, powers of two, would give.
        field[0] += (kernel - 1) * dilation * 2 ** round(math.log2(image.shape[-2] / inputs[0].shape[-2]))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            held[id(tensor.untyped_storage())] = tensor
        return tensor

    config = load_config([*words, "model.encoder.weights=null"])
    with torch.device("meta"):
        net = instantiate(config.model, num_classes=num_classes)
        image = torch.zeros(1, 3, height, width)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(image)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            net.train()(torch.zeros(2, 3, height, width)).sum()  # two, since batch norms want more than one value
        image = torch.zeros(1, 3, 1024, 1024)
        for layer in net.encoder.modules():
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                layer.register_forward_hook(grow)
        net.eval().encoder(image)
    memory = sum(tensor.untyped_storage().nbytes() for tensor in held.values()) / 2
    parameters = sum(p.numel() for p in net.parameters())
    return Cost(parameters, counter.get_total_flops() / 2e9, memory, sorted(net.encoder.channels), round(field[0]))


if __name__ == "__main__":
    entry_point("summary", summary)
