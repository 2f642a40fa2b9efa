"""The nets of the compared runs: their costs and their predictions."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segment.cli.build import instantiate
from segment.comparison.groups import Group
from segment.comparison.run import Run
from segment.comparison.sections import Section
from segment.display.escapes import escape_figure
from segment.display.pictures import save_figure, side_by_side
from segment.display.plots import CostPoint, score_against_cost
from segment.errors import SegmentError
from segment.evaluation.examples import predict_examples, spread_indices
from segment.models.costs.measured import measure_costs
from segment.models.net import SegmentationNet
from segment.models.state_dicts import METADATA
from segment.prediction.inference import Inference
from segment.records.checkpoint import load_checkpoint, load_net, read_classes, trained_reading
from segment.records.trust import check_stranger_config

PICTURED = 6
"""Number of groups in one picture, the best ones."""
DPI = 200
MAX_WORK = 1000
"""Work of a protocol, as a multiple of one pass over the image, up to which it is repeated: a record is untrusted."""


class LoadedNet(NamedTuple):
    """A net, its checkpoint without the weights, and the protocol by which it segments images."""

    net: SegmentationNet
    checkpoint: dict[str, Any]
    inference: Inference

    @property
    def architecture(self) -> str:
        """The configuration of the net and the protocol, which identify nets of equal cost."""
        return repr((self.checkpoint[METADATA]["model"], len(read_classes(self.checkpoint)), self.inference.describe()))

    def segment(self, image: Tensor) -> Tensor:
        """Return the class indices (H,W) of an image uint8 (3,H,W)."""
        return self.inference.class_map(self.net, image)


def add_costs_and_pictures(
    sections: Sequence[Section],
    size: tuple[int, int] | None,
    folder: Path | None,
    images: int,
    trust: Sequence[str] = (),
) -> None:
    """Measure the costs of the nets, plot score against cost, and show predictions; a failure becomes a note.

    Args:
        sections: get the costs and notes.
        size: height and width of the image that costs are measured on; None to measure none.
        folder: for cost.png, cost.pdf and pictures.png, and with several sections cost_NAME_NUMBER.png; None to write
            none.
        images: number of images in pictures.png.
        trust: packages whose classes may be built.
    """
    loaded: dict[Path, LoadedNet] = {}
    nets = [load_nets(section, loaded, trust) for section in sections]
    if size:
        measure_nets(sections, nets, size)
    for number, (section, found) in enumerate(zip(sections, nets, strict=True), start=1):
        name = re.sub(r"[^\w.-]+", "-", f"{section.data}_{section.split}")[:80]
        ending = f"_{name}_{number}" if len(sections) > 1 else ""
        try:
            plot_costs(section, folder, ending)
        except Exception as error:  # the costs are in the table, also where matplotlib fails
            section.notes.append(f"no plot of the costs: {' '.join(str(error).split())[:200]}")
        if found and folder and images:
            try:
                show_predictions(section, found, images, folder / f"pictures{ending}.png", trust)
            except Exception as error:  # an untrusted configuration of data may raise anything
                section.notes.append(f"no pictures: {' '.join(str(error).split())}")


def load_nets(section: Section, loaded: dict[Path, LoadedNet], trust: Sequence[str] = ()) -> dict[int, LoadedNet]:
    """Load the net of the first run of each group that has a checkpoint, by the group's index.

    Args:
        loaded: the nets that are loaded, by checkpoint: several groups may be evaluations of one.
        trust: packages whose classes may be built.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets: dict[int, LoadedNet] = {}
    for index, group in enumerate(section.groups):
        if not group.runs[0].has_net:
            continue
        first = group.runs[0]  # of several folds the same one for all groups: pictures show images that it held out
        run = next((run for run in group.runs if run.checkpoint.is_file() and run.fold == first.fold), first)
        path = run.checkpoint
        try:
            inference = run_inference(run)
            if path not in loaded:
                checkpoint = load_checkpoint(path)
                net = load_net(checkpoint, path, trust).to(device)
                loaded[path] = LoadedNet(net, {METADATA: checkpoint[METADATA]}, inference)
            nets[index] = loaded[path]._replace(inference=inference)
        except SegmentError as error:
            section.notes.append(f"{group.label}: neither cost nor pictures, {error}")
    return nets


def run_inference(run: Run) -> Inference:
    """Return the protocol by which a run was evaluated.

    Raises:
        SegmentError: the recorded arguments do not give the protocol that ``metrics.json`` names, or it takes hours.
    """
    try:
        inference = Inference(**{key: value for key, value in run.inference.items() if key != "_target_"})
    except Exception as error:  # an untrusted configuration may raise anything
        raise SegmentError(f"the recorded inference is damaged: {' '.join(str(error).split())[:200]}") from None
    if inference.describe() != run.protocol:
        raise SegmentError(f"its .hydra/config.yaml does not give the protocol of metrics.json ({run.protocol})")
    windows = max(prod(inference.window), 64**2) / prod(inference.stride) if inference.window else 1
    if (work := (1 + inference.flip) * sum(scale**2 for scale in inference.scales) * windows) > MAX_WORK:
        raise SegmentError(f"its protocol takes {work:.0f} times as long as one pass over the image")
    return inference


def measure_nets(sections: Sequence[Section], nets: Sequence[dict[int, LoadedNet]], size: tuple[int, int]) -> None:
    """Measure each architecture once by each protocol, and give its cost to all groups that have both."""
    groups = defaultdict[str, list[tuple[Section, Group]]](list)
    first: dict[str, LoadedNet] = {}
    for section, found in zip(sections, nets, strict=True):
        for index, loaded in found.items():
            groups[loaded.architecture].append((section, section.groups[index]))
            first.setdefault(loaded.architecture, loaded)
    if not first:
        return
    try:
        costs, note = measure_costs([(loaded.net, loaded.segment) for loaded in first.values()], *size)
    except Exception as error:  # such as torch's RuntimeError where memory is short
        costs, note = [], f"no costs: {' '.join(str(error).split())[:200]}"
    for alike, cost in zip(groups.values(), costs, strict=False):
        for section, group in alike:
            if isinstance(cost, str):
                section.notes.append(f"{group.label}: no cost, {cost}")
            else:
                group.cost = cost
    for section, found in zip(sections, nets, strict=True):
        section.notes += [note] if found else []


def plot_costs(section: Section, folder: Path | None, ending: str) -> None:
    """Plot mean IoU with its interval against the time of an image into ``cost.png`` and ``cost.pdf``."""
    points = []
    for group in section.groups:
        found = group.interval
        if group.cost and group.scores("mIoU"):
            ends = (100 * found.low, 100 * found.high) if found else None
            points.append(CostPoint(group.label, 1e3 * group.cost.seconds, 100 * group.mean_iou, ends))
    if points and folder:
        bars = "\nbars: 95 %, over the choice of images" * any(point.interval for point in points)
        figure = score_against_cost(points, "time of an image, ms", f"mean IoU, per cent{bars}", section.heading)
        for suffix in ("png", "pdf"):
            save_figure(figure, folder / f"cost{ending}.{suffix}", DPI)


def show_predictions(
    section: Section, nets: dict[int, LoadedNet], images: int, path: Path, trust: Sequence[str]
) -> None:
    """Show image, truth and predictions of the best nets on the same files, for images spread evenly over the split.

    Raises:
        SegmentError: the data set does not exist, or has no masks.
    """
    best = sorted(nets, key=lambda index: -section.groups[index].mean_iou)
    first = [section.groups[index].runs[0] for index in best]
    files = [(run.measurement["files"], run.fold if "folds" in run.metrics else None) for run in first]
    chosen = sorted([index for index, same in zip(best, files, strict=True) if same == files[0]][:PICTURED])
    if len(chosen) < len(nets):
        section.notes.append(f"{path.name} shows {len(chosen)} of {len(nets)} nets, the best ones on the same files")
    run, checkpoint = section.groups[chosen[0]].runs[0], nets[chosen[0]].checkpoint
    # An evaluation's data may lie in another folder.
    config = checkpoint[METADATA]["data"] if run.is_training else run.data_config
    check_stranger_config(config, str(run.folder.path), ("segment.data",), trust)
    data = instantiate(config)
    data.reading.complete(trained_reading(checkpoint))  # as segment.evaluate does
    dataset = data.dataset(str(run.metrics["split"]))
    if not dataset.has_masks:
        raise SegmentError(f"the split {section.split} has no masks")
    classes, indices = read_classes(checkpoint), spread_indices(len(dataset), images)
    examples = [predict_examples(nets[index].net, nets[index].inference, dataset, indices) for index in chosen]
    rows = [[same[0].image, same[0].truth, *(item.prediction for item in same)] for same in zip(*examples, strict=True)]
    titles = ["image", "truth", *(section.groups[index].label for index in chosen)]
    figure = side_by_side(rows, titles, classes)
    figure.suptitle(textwrap.fill(escape_figure(section.heading), 22 * len(titles)), fontsize=10)
    save_figure(figure, path, DPI)
