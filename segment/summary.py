"""Costs of nets without running them: ``python -m segment.summary models=[fcn8s,unet] encoders=[resnet50]``."""

import sys
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from segment.cli.build import build_net, without_weights
from segment.cli.config import group_options, load_config, plain
from segment.cli.entry_point import entry_point
from segment.cli.overrides import split_flags
from segment.cli.suggestions import explain_hydra_error
from segment.cli.value_types import check_value
from segment.display.grid import Grid, screen_table
from segment.errors import SegmentError

NOTES = (
    "memory: what one image's training step keeps for the backward pass, in 32 bits, without weights and optimiser",
    "receptive field: pixels on a side that the deepest feature sees; an upper bound for encoders with branches",
)


def summary(config: DictConfig) -> None:
    """Print a table of costs with a row for each model and encoder.

    Raises:
        SegmentError: a value is wrong, or the only net of the table cannot be built.
    """
    kinds = {"models": list[str] | None, "encoders": list[str] | None, "size": list[int], "num_classes": int,
             "largest_batch": bool}  # fmt: skip
    models, encoders, size, classes, batch = (check_value(key, plain(config[key]), kind) for key, kind in kinds.items())
    if classes < 1:
        raise SegmentError(f"num_classes={classes}: expected a number from 1")
    if len(size) != 2 or min(size) < 32:
        raise SegmentError(f"size={size}: expected [HEIGHT,WIDTH], each from 32")
    if batch:
        check_gpu()
    flags = split_flags(sys.argv[1:])[0]  # --config-dir adds own models
    headings = ["model", "encoder", "M params", "GMACs", "GB memory", "strides", "receptive field"]
    title = f"{size[0]}x{size[1]} pixels (height x width), {classes} classes"
    headings += ["largest batch"] * batch
    grid, notes = Grid(title, headings, text=("encoder", "strides")), list(NOTES)
    pairs = [(model, encoder) for model in models or group_options("model", flags) for encoder in encoders or [None]]
    for model, encoder in pairs:
        overrides = [*flags, f"model={model}", *([f"model/encoder={encoder}"] if encoder else [])]
        name = encoder or "-"
        try:
            net = without_weights(plain(load_config(overrides).model))
            name = encoder or encoder_name(net.get("encoder"))
            cells = cost_cells(net, classes, *size)
            cells += [str(measure_largest_batch(net, classes, *size))] if batch else []
        except (SegmentError, HydraException) as error:
            if len(pairs) == 1:
                raise
            cells = ["-"] * (5 + batch)
            reason = explain_hydra_error(error, "train") if isinstance(error, HydraException) else error
            notes.append(f"{model} with {name}: {reason}")
        grid.rows.append([model, name, *cells])
    console = Console()
    console.width = max(console.width, 100)
    console.print(screen_table(grid))
    print(*notes, sep="\n")


def encoder_name(encoder: Any) -> str:
    """Return the class of an encoder's configuration, or its name in another library; "-" where there is none."""
    name = encoder.get("_target_") if isinstance(encoder, dict) else None
    return str(name).rpartition(".")[2] if name else str(encoder or "-")


def check_gpu() -> None:
    """Check that torch can use a GPU.

    Raises:
        SegmentError: it cannot.
    """
    import torch

    if not torch.cuda.is_available():
        raise SegmentError("largest_batch=true needs a GPU of NVIDIA that torch can use, and torch finds none")


def measure_largest_batch(config: Any, num_classes: int, height: int, width: int) -> int:
    """Return the largest batch of a training step that fits in the memory of this machine's first GPU."""
    from segment.models.costs.measured import largest_batch, training_step

    net = build_net(config, num_classes).to("cuda")
    return largest_batch(training_step(net, height, width))


def cost_cells(config: Any, num_classes: int, height: int, width: int) -> list[str]:
    """Return the cost of a net as the cells of its row. The net is built without weights and takes no memory.

    Raises:
        SegmentError: the net cannot be built, or its cost needs more than the shapes of its tensors.
    """
    import torch

    from segment.models.costs.computed import compute_cost

    try:
        with torch.device("meta"):
            cost = compute_cost(build_net(config, num_classes), height, width)
    except RuntimeError as error:
        raise SegmentError(
            f"its cost cannot be computed from shapes alone: {' '.join(str(error).split())[:150]}"
        ) from None
    memory, strides = f"{cost.training_memory / 1e9:.2f}", " ".join(map(str, cost.strides))
    field = "-" if cost.receptive_field is None else str(cost.receptive_field)
    return [f"{cost.parameters / 1e6:.2f}", f"{cost.gmacs:.1f}", memory, strides or "-", field]


if __name__ == "__main__":
    entry_point("summary", summary)
