"""Costs of nets without running them: ``python -m segment.summary models=[fcn8s,unet] encoders=[resnet50]``."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from segment.cli.build import instantiate
from segment.cli.config import group_options, load_config, plain
from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError

if TYPE_CHECKING:  # torch takes seconds to import, and --help does not need it
    from segment.models.net import SegmentationNet

NOTES = (
    "memory: what one image's training step keeps for the backward pass, in 32 bits, without weights and optimiser",
    "receptive field: pixels on a side that the deepest feature sees; an upper bound for encoders with branches",
)


def summary(config: DictConfig) -> None:
    """Print a table of costs with a row for each model and encoder.

    Raises:
        SegmentError: a value is wrong, or the only net of the table cannot be built.
    """
    check_summary(config)
    height, width = config.size
    pairs = [
        (model, encoder) for model in config.models or group_options("model") for encoder in config.encoders or [None]
    ]
    title = f"{height}x{width} pixels (height x width), {config.num_classes} classes"
    table = Table(title=title, title_justify="left")
    for name in ("model", "encoder", "params\nM", "GMACs", "memory\nGB", "strides", "receptive\nfield"):
        table.add_column(name, justify="left" if name in {"model", "encoder", "strides"} else "right", no_wrap=True)
    notes = list(NOTES)
    for model, encoder in pairs:
        overrides = [f"model={model}", *([f"model/encoder={encoder}"] if encoder else [])]
        name = encoder or load_config(overrides).model.encoder._target_.rpartition(".")[2]
        try:
            cells = cost_cells(build_on_meta_device(overrides, config.num_classes), height, width)
        except SegmentError as error:
            if len(pairs) == 1:
                raise
            cells = ["-"] * 5
            notes.append(f"{model} with {name}: {error}")
        table.add_row(model, name, *cells)
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)
    print(*notes, sep="\n")


def check_summary(config: DictConfig) -> None:
    """Check the types and ranges of the command's values."""
    kinds: dict[str, Any] = {
        "models": list[str] | None,
        "encoders": list[str] | None,
        "size": list[int],
        "num_classes": int,
    }
    for key, kind in kinds.items():
        check_value(key, plain(config[key]), kind)
    if config.num_classes < 1:
        raise SegmentError(f"num_classes={config.num_classes}: expected a number from 1")
    if len(config.size) != 2 or min(config.size) < 32:
        raise SegmentError(f"size={config.size}: expected [HEIGHT,WIDTH], each from 32")


def build_on_meta_device(overrides: list[str], num_classes: int) -> "SegmentationNet":
    """Build the net of a configuration without weights and without memory."""
    import torch

    config = load_config([*overrides, "model.encoder.weights=null"])
    with torch.device("meta"):
        return instantiate(config.model, num_classes=num_classes)


def cost_cells(net: "SegmentationNet", height: int, width: int) -> list[str]:
    """Format the cost of a net as the cells of its row."""
    from segment.models.costs.computed import compute_cost

    cost = compute_cost(net, height, width)
    memory, strides = f"{cost.training_memory / 1e9:.2f}", " ".join(map(str, cost.strides))
    return [f"{cost.parameters / 1e6:.2f}", f"{cost.gmacs:.1f}", memory, strides, str(cost.receptive_field)]


if __name__ == "__main__":
    entry_point("summary", summary)
