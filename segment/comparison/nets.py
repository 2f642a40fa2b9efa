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
from segment.display.figures import save_figure, side_by_side
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
MAX_NETS = 50
"""Number of different nets up to which their costs are measured unasked."""
MAX_WORK = 1000
"""Work of a protocol, as a multiple of one pass over the image, up to which it is repeated: a record is untrusted."""


class LoadedNet(NamedTuple):
    """A net, its checkpoint without the weights, and the protocol by which it segments images."""

    net: SegmentationNet
    checkpoint: dict[str, Any]
    inference: Inference

    def segment(self, image: Tensor) -> Tensor:
        """Return the class indices (H,W) of an image uint8 (3,H,W)."""
        return self.inference.class_map(self.net, image)


class NetLoader:
    """Load the nets of groups, each checkpoint once; a net that cannot be loaded becomes a note of its section.

    Args:
        trust: packages whose classes may be built.
    """

    def __init__(self, trust: Sequence[str] = ()) -> None:
        self._trust, self._loaded = trust, dict[Path, LoadedNet]()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def load(self, section: Section, group: Group) -> LoadedNet | None:
        """Return the net of the first run of a group that has a checkpoint; None if there is none."""
        first = group.runs[0]  # of several folds the same one for all groups: pictures show images that it held out
        if not first.has_net:
            return None
        run = next((run for run in group.runs if run.checkpoint.is_file() and run.fold == first.fold), first)
        path = run.checkpoint
        try:
            inference = run_inference(run)
            if path not in self._loaded:
                checkpoint = load_checkpoint(path)
                net = load_net(checkpoint, path, self._trust).to(self._device)
                self._loaded[path] = LoadedNet(net, {METADATA: checkpoint[METADATA]}, inference)
            return self._loaded[path]._replace(inference=inference)
        except SegmentError as error:
            note = f"{group.label}: neither cost nor pictures, {error}"
            section.notes += [note] if note not in section.notes else []
            return None


def add_costs_and_pictures(
    sections: Sequence[Section],
    size: tuple[int, int] | None,
    folder: Path | None,
    images: int,
    trust: Sequence[str] = (),
    max_nets: float = MAX_NETS,
) -> None:
    """Measure the costs of the nets, plot score against cost, and show predictions; a failure becomes a note.

    Args:
        sections: get the costs and notes.
        size: height and width of the image that costs are measured on; None to measure none.
        folder: for cost.png, cost.pdf and pictures.png, and with several sections cost_NAME_NUMBER.png; None to write
            none.
        images: number of images in pictures.png.
        trust: packages whose classes may be built.
        max_nets: number of different nets up to which costs are measured.
    """
    loader = NetLoader(trust)
    if size:
        measure_nets(sections, loader, size, max_nets)
    for number, section in enumerate(sections, start=1):
        name = re.sub(r"[^\w.-]+", "-", f"{section.data}_{section.split}")[:80]
        ending = f"_{name}_{number}" if len(sections) > 1 else ""
        try:
            plot_costs(section, folder, ending)
        except Exception as error:  # the costs are in the table, also where matplotlib fails
            section.notes.append(f"no plot of the costs: {' '.join(str(error).split())[:200]}")
        if folder and images and (found := best_nets(section, loader)):
            try:
                show_predictions(section, found, images, folder / f"pictures{ending}.png", trust)
            except Exception as error:  # an untrusted configuration of data may raise anything
                section.notes.append(f"no pictures: {' '.join(str(error).split())}")


def architecture(run: Run) -> str:
    """Return what identifies nets of equal cost: configuration, number of classes and protocol of a run's net."""
    model = sorted((key, repr(value)) for key, value in run.config.items() if key.startswith("model."))
    return repr((model or run.net, len(run.data[1]), run.protocol, run.inference))


def best_nets(section: Section, loader: NetLoader) -> dict[int, LoadedNet]:
    """Load the nets of the best groups on the same files, by the group's index."""
    nets: dict[int, LoadedNet] = {}
    ranked = sorted(range(len(section.groups)), key=lambda index: -section.groups[index].mean_iou)
    for index in ranked:
        files = [_evaluated_files(section.groups[one].runs[0]) for one in (index, *nets)]
        if len(nets) < PICTURED and files[0] == files[-1] and (net := loader.load(section, section.groups[index])):
            nets[index] = net
    return dict(sorted(nets.items()))


def _evaluated_files(run: Run) -> tuple[Any, int | None]:
    return run.measurement["files"], run.fold if "folds" in run.metrics else None


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


def measure_nets(
    sections: Sequence[Section], loader: NetLoader, size: tuple[int, int], max_nets: float = MAX_NETS
) -> None:
    """Measure each architecture once by each protocol, and give its cost to all groups that have both."""
    groups = defaultdict[str, list[tuple[Section, Group]]](list)
    for section in sections:
        for group in section.groups:
            if group.runs[0].has_net:
                groups[architecture(group.runs[0])].append((section, group))
    if len(groups) > max_nets:
        for section in sections:
            section.notes.append(
                f"no costs: {len(groups)} different nets are more than {MAX_NETS}; --cost measures all"
            )
        return
    loads = {key: (loader.load(*one) for one in alike) for key, alike in groups.items()}
    first = {key: net for key, nets in loads.items() if (net := next(filter(None, nets), None))}
    if not first:
        return
    try:
        costs, note = measure_costs([(loaded.net, loaded.segment) for loaded in first.values()], *size)
    except Exception as error:  # such as torch's RuntimeError where memory is short
        costs, note = [], f"no costs: {' '.join(str(error).split())[:200]}"
    for key, cost in zip(first, costs, strict=False):
        for section, group in groups[key]:
            if isinstance(cost, str):
                section.notes.append(f"{group.label}: no cost, {cost}")
            else:
                group.cost = cost
    for section in sections:
        section.notes += [note] if any(one is section for key in first for one, _ in groups[key]) else []


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
    chosen, total = [*nets], sum(group.runs[0].has_net for group in section.groups)
    if len(chosen) < total:
        section.notes.append(f"{path.name} shows {len(chosen)} of {total} nets, the best ones on the same files")
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
