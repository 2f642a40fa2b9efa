"""Examine a whole data set: ``python -m segment.check data=voc data.root=DIR``."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.cli.entry_point import entry_point
from segment.cli.overrides import override_key
from segment.cli.run_folder import output_folder
from segment.display.grid import Grid, screen_table
from segment.errors import SegmentError
from segment.files import printable, printable_lines, whole_file
from segment.records.folder import RunFolder

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    import numpy as np

    from segment.data.datamodule import SegmentationDataModule
    from segment.data.doctor import DataReport
    from segment.data.pairs import Finding

SHOWN = 5
"""Number of findings of one kind on the screen; check.json has all."""

MASKS_SHOWN = 8
"""Number of images of check_masks.png, of all splits."""
MASK_TITLES = ("image", "mask", "mask over image")
PICTURE_SIDE = 600
"""Pixels of a picture in check_masks.png, about: larger images are thinned out."""

COUNTS_SHOWN = 40
"""Number of rows of a table of counts on the screen; check.json has all."""


def check(config: DictConfig) -> None:
    """Report image sizes, class shares and all findings of a data set as tables, plot and JSON.

    Raises:
        SegmentError: there is a problem that would spoil a training or its metrics.
    """
    folder = RunFolder(output_folder())
    try:
        check_data(config, folder)
    finally:
        if not any(override_key(one) == "hydra.run.dir" for one in HydraConfig.get().overrides.hydra):
            with suppress(OSError):  # they are removed only if nothing was written
                folder.path.rmdir()
                folder.path.parent.rmdir()


def check_data(config: DictConfig, folder: RunFolder) -> None:
    """Examine the data set, write the report into the folder and print it; see :func:`check`."""
    from segment.data.doctor import examine
    from segment.display.figures import save_figure, side_by_side
    from segment.display.plots import class_shares

    data = instantiate(config.data)
    data.prepare_data()
    splits = plain(config.splits) or [data.train_split, data.val_split]
    splits = [splits] if isinstance(splits, str) else splits
    report = examine(data, splits, lambda pairs, name, total: track(pairs, f"reading {name}", total=total))
    if not report.splits:
        raise SegmentError(report.problems[0].message)
    classes = [*data.classes.names, "void"]
    folder.claim(folder.data_report, folder.data_plot, folder.data_masks)
    with whole_file(folder.data_report) as file:
        file.write(json.dumps(report.to_json(data.classes.names), indent=2) + "\n")
    shares = {name: report.shares(name, len(data.classes)) for name in report.splits}
    plotted = any(any(values) for values in shares.values())
    if plotted:
        save_figure(class_shares(shares, classes), folder.data_plot)
    masks = mask_rows(data, [*report.splits])
    if masks:
        save_figure(side_by_side(masks, MASK_TITLES, data.classes, panel=3.0), folder.data_masks)
    console = Console(soft_wrap=True, highlight=False)
    console.print(screen_table(sizes_grid(report)))
    console.print(screen_table(shares_grid(shares, classes)))
    for title, counts in report.counts.items():
        console.print(screen_table(counts_grid(title, counts)))
    for title, findings in (("notes", report.notes), ("problems", report.problems)):
        console.print(*finding_lines(title, findings), sep="\n", markup=False)
    plot = f", {folder.data_plot.name} plots the shares" if plotted else ""
    pictures = f", {folder.data_masks.name} shows some masks over their images" if masks else ""
    written = printable(f"{folder.path}: {folder.data_report.name}")
    console.print(f"written to {written} has all findings{plot}{pictures}", markup=False)
    if report.problems:
        raise SegmentError(
            f"found {len(report.problems)} problem{'s' if len(report.problems) > 1 else ''} that would spoil "
            "a training or its metrics; see above"
        )


def mask_rows(data: "SegmentationDataModule", splits: Sequence[str]) -> "list[tuple[np.ndarray, ...]]":
    """Return image, mask and both together of some images of the splits, as they are read for a training.

    Images that cannot be read are left out, and so are those without a mask.
    """
    from segment.display.pictures import overlay
    from segment.evaluation.examples import spread_indices

    rows: list[tuple[np.ndarray, ...]] = []
    for split in splits:
        with suppress(SegmentError):
            dataset = data.make_dataset(split, None)  # unchecked
            for index in spread_indices(len(dataset), max(1, MASKS_SHOWN // len(splits))):
                with suppress(SegmentError):
                    item = dataset[index]
                    step = max(1, max(item["mask"].shape) // PICTURE_SIDE)
                    image = item["image"].permute(1, 2, 0).numpy()[::step, ::step]
                    mask = item["mask"].numpy()[::step, ::step]
                    rows.append((image, mask, overlay(image, mask, data.classes)))
    return rows


def sizes_grid(report: "DataReport") -> Grid:
    """Return the number and the sizes of the images of each split."""
    headings = ["split", "listed", "without problem", "sizes (width x height)"]
    grid = Grid("images", headings, text=headings[-1:])
    for name, split in report.splits.items():
        common = [f"{w}x{h} ({count})" for (w, h), count in split.sizes.most_common(3)]
        further = f" and {len(split.sizes) - 3} others" if len(split.sizes) > 3 else ""
        grid.rows.append([name, str(split.samples), str(split.read), ", ".join(common) + further])
    return grid


def shares_grid(shares: dict[str, list[float]], names: Sequence[str]) -> Grid:
    """Return each class's share of the pixels in each split; void, the last of the names, is below a line."""
    grid = Grid("share of the pixels, per cent", ["class", *shares], rules={len(names) - 1})
    for i, name in enumerate(names):
        cells = [f"{100 * values[i]:.2f}" if values[i] else "-" for values in shares.values()]
        grid.rows.append([name, *cells])
    return grid


def counts_grid(title: str, counts: dict[str, int]) -> Grid:
    """Return the largest of some counts by name; check.json has all."""
    grid = Grid(title, [title, "number"])
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    grid.rows = [[name, str(count)] for name, count in rows[:COUNTS_SHOWN]]
    if len(rows) > COUNTS_SHOWN:
        grid.rows.append([f"and {len(rows) - COUNTS_SHOWN} more", str(sum(count for _, count in rows[COUNTS_SHOWN:]))])
    return grid


def finding_lines(title: str, findings: "Sequence[Finding]") -> list[str]:
    """Return the first few findings of each kind as lines below a title."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind, message in findings:
        kinds[kind].append(message)
    result = [f"{title}: {len(findings) or 'none'}"]
    for kind, messages in kinds.items():
        result += [f"  {kind}: {printable_lines(message)}" for message in messages[:SHOWN]]
        if len(messages) > SHOWN:
            result.append(f"  {kind}: and {len(messages) - SHOWN} more")
    return result


if __name__ == "__main__":
    entry_point("check", check)
