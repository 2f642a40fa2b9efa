"""The nets of the compared runs: their costs and their predictions."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from segment.cli.build import instantiate
from segment.comparison.sections import Section, mean_and_spread
from segment.display.pictures import save_figure, side_by_side
from segment.display.plots import CostPoint, score_against_cost
from segment.errors import SegmentError
from segment.evaluation.examples import predict_examples, spread_indices
from segment.models.costs.measured import measure_costs
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.prediction.inference import Inference
from segment.records.checkpoint import load_checkpoint, load_net, read_classes
from segment.records.trust import check_stranger_config

PICTURED = 6
"""Number of groups in one picture, the best ones."""
DPI = 200


class LoadedNet(NamedTuple):
    """A net, and its checkpoint without the weights."""

    net: SegmentationNet
    checkpoint: dict[str, Any]

    @property
    def architecture(self) -> str:
        """The configuration of the net, which identifies nets of equal cost."""
        return repr((self.checkpoint[METADATA]["model"], len(read_classes(self.checkpoint))))


def add_costs_and_pictures(
    sections: Sequence[Section], size: tuple[int, int] | None, folder: Path | None, images: int
) -> None:
    """Measure the costs of the nets, plot score against cost, and show predictions; a failure becomes a note.

    Args:
        sections: get the costs and notes.
        size: height and width of the image that costs are measured on; None to measure none.
        folder: for cost.png, cost.pdf and pictures.png, and with several sections cost_NAME_NUMBER.png; None to write
            none.
        images: number of images in pictures.png.
    """
    loaded: dict[Path, LoadedNet] = {}
    nets = [load_nets(section, loaded) for section in sections]
    if size:
        measure_nets(sections, nets, size)
    for number, (section, found) in enumerate(zip(sections, nets, strict=True), start=1):
        name = re.sub(r"[^\w.-]+", "-", section.data)[:80]
        ending = f"_{name}_{number}" if len(sections) > 1 else ""
        plot_costs(section, folder, ending)
        if found and folder and images:
            try:
                show_predictions(section, found, images, folder / f"pictures{ending}.png")
            except Exception as error:  # an untrusted configuration of data may raise anything
                section.notes.append(f"no pictures: {' '.join(str(error).split())}")


def load_nets(section: Section, loaded: dict[Path, LoadedNet]) -> dict[int, LoadedNet]:
    """Load the net of the first run of each group that has a checkpoint, by the group's index.

    Args:
        loaded: the nets that are loaded, by checkpoint: several groups may be evaluations of one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets = {}
    for index, group in enumerate(section.groups):
        if not group.runs[0].has_net:
            continue
        path = next((run.checkpoint for run in group.runs if run.checkpoint.is_file()), group.runs[0].checkpoint)
        try:
            if path not in loaded:
                checkpoint = load_checkpoint(path)
                loaded[path] = LoadedNet(load_net(checkpoint, path).to(device), {METADATA: checkpoint[METADATA]})
            nets[index] = loaded[path]
        except SegmentError as error:
            section.notes.append(f"{group.label}: neither cost nor pictures, {error}")
    return nets


def measure_nets(sections: Sequence[Section], nets: Sequence[dict[int, LoadedNet]], size: tuple[int, int]) -> None:
    """Measure each architecture once, and give its cost to all groups that have it."""
    groups = defaultdict(list)
    first: dict[str, SegmentationNet] = {}
    for section, found in zip(sections, nets, strict=True):
        for index, loaded in found.items():
            groups[loaded.architecture].append(section.groups[index])
            first.setdefault(loaded.architecture, loaded.net)
    if not first:
        return
    try:
        costs, note = measure_costs([*first.values()], *size)
    except SegmentError as error:
        costs, note = [], f"no costs: {error}"
    for alike, cost in zip(groups.values(), costs, strict=False):
        for group in alike:
            group.cost = cost
    for section, found in zip(sections, nets, strict=True):
        section.notes += [note] if found else []


def plot_costs(section: Section, folder: Path | None, ending: str) -> None:
    """Plot mean IoU against the time of a forward pass into ``cost.png`` and ``cost.pdf``."""
    points = []
    for group in section.groups:
        mean, deviation = mean_and_spread(group.scores("mIoU"))
        if group.cost and mean is not None:
            points.append(CostPoint(group.label, 1e3 * group.cost.seconds, 100 * mean, 100 * (deviation or 0)))
    if points and folder:
        figure = score_against_cost(points, "forward pass, ms", "mean IoU, per cent")
        for suffix in ("png", "pdf"):
            save_figure(figure, folder / f"cost{ending}.{suffix}", DPI)


def show_predictions(section: Section, nets: dict[int, LoadedNet], images: int, path: Path) -> None:
    """Show image, truth and the best nets' predictions, for images spread evenly over the split.

    Raises:
        SegmentError: the data set does not exist, or has no masks.
    """
    best = sorted(nets, key=lambda index: -section.groups[index].mean_iou)[:PICTURED]
    if len(best) < len(nets):
        section.notes.append(f"{path.name} shows the best {PICTURED} of {len(nets)}")
    chosen = sorted(best)
    run, checkpoint = section.groups[chosen[0]].runs[0], nets[chosen[0]].checkpoint
    # An evaluation's data may lie in another folder.
    config = checkpoint[METADATA]["data"] if run.is_training else run.data_config
    split = str(run.metrics.get("split"))
    check_stranger_config(config, str(run.folder.path), ("segment.data",))
    dataset = instantiate(config).dataset(split)
    if not dataset.has_masks:
        raise SegmentError(f"the split {split} has no masks")
    classes, indices = read_classes(checkpoint), spread_indices(len(dataset), images)
    examples = [predict_examples(nets[index].net, Inference(), dataset, indices) for index in chosen]
    rows = [[same[0].image, same[0].truth, *(item.prediction for item in same)] for same in zip(*examples, strict=True)]
    titles = ["image", "truth", *(section.groups[index].label for index in chosen)]
    save_figure(side_by_side(rows, titles, classes), path, DPI)
