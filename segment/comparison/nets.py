"""The runs' nets, as far as their checkpoints are there: what they cost, what they see."""

from pathlib import Path
from typing import Any

import torch

from segment.cli.config import instantiate
from segment.comparison.sections import Section, mean_and_spread
from segment.display.pictures import save, side_by_side
from segment.display.plots import Point, against_cost
from segment.errors import SegmentError
from segment.evaluation.evaluator import pictures, spread
from segment.models.costs.measured import measure_costs
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import check_targets, classes_of, load_checkpoint, load_net
from segment.training.module import SegmentationModule

PICTURED = 6
"""Groups, the best ones, that fit into one picture."""
DPI = 200
Loaded = dict[int, tuple[SegmentationNet, dict[str, Any]]]


def look_at_nets(
    section: Section, size: tuple[int, int] | None, folder: Path | None, images: int, ending: str = ""
) -> None:
    """Measure costs, plot figure against cost, show what the nets see; whatever cannot be done becomes a note.

    Args:
        size: height and width of the image that costs are measured on; None to measure none.
        folder: for cost.png, cost.pdf and pictures.png; None to write none.
        images: number of images in the picture.
        ending: what the files' names have before their suffix.
    """
    nets = load(section)
    if nets and size:
        try:
            costs, how = measure_costs([net for net, _ in nets.values()], *size)
        except SegmentError as error:
            section.notes.append(f"no costs: {error}")
        else:
            section.notes.append(how)
            for index, cost in zip(nets, costs, strict=True):
                section.costs[index] = cost
            plot(section, folder, ending)
    if nets and folder and images:
        try:
            picture(section, nets, images, folder / f"pictures{ending}.png")
        except SegmentError as error:
            section.notes.append(f"no pictures: {error}")


def load(section: Section) -> Loaded:
    """Net and card of the first run of each group, by the group's place."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {}
    for index, one in enumerate(section.groups):
        path = next((run.checkpoint for run in one.runs if run.checkpoint.is_file()), one.runs[0].checkpoint)
        try:
            checkpoint = load_checkpoint(path)
            found[index] = load_net(checkpoint, path).to(device), {METADATA: checkpoint[METADATA]}
        except SegmentError as error:
            section.notes.append(f"{one.label}: neither cost nor pictures, {error}")
    return found


def plot(section: Section, folder: Path | None, ending: str) -> None:
    """Mean IoU against the time of a forward pass."""
    points = []
    for one, cost in zip(section.groups, section.costs, strict=True):
        mean, deviation = mean_and_spread(one.scores("mIoU"))
        if cost and mean is not None:
            points.append(Point(one.label, 1e3 * cost.seconds, 100 * mean, 100 * (deviation or 0)))
    if points and folder:
        figure = against_cost(points, "forward pass, ms", "mean IoU, per cent")
        for suffix in ("png", "pdf"):
            save(figure, folder / f"cost{ending}.{suffix}", DPI)


def picture(section: Section, nets: Loaded, images: int, path: Path) -> None:
    """Image, truth and the best nets' predictions, for images spread evenly over the split.

    Raises:
        SegmentError: the data set is not there, or has no masks.
    """
    best = sorted(nets, key=lambda index: -section.groups[index].mean_iou)[:PICTURED]
    if len(best) < len(nets):
        section.notes.append(f"{path.name} shows the best {PICTURED} of {len(nets)}")
    chosen = sorted(best)
    run, card = section.groups[chosen[0]].runs[0], nets[chosen[0]][1]
    # An evaluation's data may lie elsewhere.
    config = card[METADATA]["data"] if run.is_training else run.measured
    split = str(run.metrics.get("split"))
    check_targets(config, "segment.data")
    dataset = instantiate(config).dataset(split)
    if not dataset.has_masks:
        raise SegmentError(f"the split {split} has no masks")
    classes, indices = classes_of(card), spread(len(dataset), images)
    seen = [pictures(SegmentationModule(nets[index][0], classes), dataset, indices) for index in chosen]
    rows = [[same[0].image, same[0].truth, *(item.prediction for item in same)] for same in zip(*seen, strict=True)]
    titles = ["image", "truth", *(section.groups[index].label for index in chosen)]
    save(side_by_side(rows, titles, classes), path, DPI)
