"""Read a whole data set and say what is wrong with it: ``python -m segment.check data=voc data.root=DIR``."""

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table

from segment.cli.config import entry_point, instantiate, plain, run_folder
from segment.errors import SegmentError

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.doctor import DataReport
    from segment.data.pairs import Finding

SHOWN = 5
"""Findings of one kind on the screen; check.json has all."""


def check(config: DictConfig) -> None:
    """Counts, sizes, faulty pairs, leakage between splits and pixel shares, as table, plot and JSON.

    Raises:
        SegmentError: something was found that would spoil a training or its figures.
    """
    from segment.data.doctor import examine
    from segment.display.pictures import class_shares, save

    folder = run_folder()
    data = instantiate(config.data)
    data.prepare_data()
    splits = plain(config.splits) or [data.train_split, data.val_split]
    splits = [splits] if isinstance(splits, str) else splits
    report = examine(data, splits, lambda pairs, name, total: track(pairs, f"reading {name}", total=total))
    names = data.classes.names
    (folder / "check.json").write_text(json.dumps(report.to_json(names), indent=2) + "\n")
    shares = {name: report.shares(name, len(names)) for name in report.splits}
    plotted = any(any(values) for values in shares.values())
    if plotted:
        save(class_shares(shares, [*names, "void"]), folder / "check.png")
    console = Console(soft_wrap=True, highlight=False)
    if report.splits:
        console.print(sizes_table(report))
        console.print(shares_table(shares, [*names, "void"]))
    for title, findings in (("notes", report.notes), ("problems", report.problems)):
        console.print(*lines(title, findings), sep="\n", markup=False)
    written = "check.json has all findings" + (", check.png is the shares as a plot" if plotted else "")
    console.print(f"written to {folder}: {written}", markup=False)
    if report.problems:
        raise SegmentError(
            f"found {len(report.problems)} problem{'s' if len(report.problems) > 1 else ''} that would spoil "
            "a training or its figures; see above"
        )


def sizes_table(report: "DataReport") -> Table:
    """Number and sizes of the images, by split."""
    table = Table(title="images", title_justify="left")
    for heading in ("split", "listed", "sound", "sizes (width x height)"):
        table.add_column(heading, justify="right" if heading in {"listed", "sound"} else "left")
    for name, split in report.splits.items():
        common = [f"{w}x{h} ({count})" for (w, h), count in split.sizes.most_common(3)]
        further = f" and {len(split.sizes) - 3} others" if len(split.sizes) > 3 else ""
        table.add_row(name, str(split.samples), str(split.read), ", ".join(common) + further)
    return table


def shares_table(shares: dict[str, list[float]], names: list[str]) -> Table:
    """Each class's share of the pixels, by split."""
    table = Table(title="share of the pixels, per cent", title_justify="left")
    table.add_column("class")
    for split in shares:
        table.add_column(split, justify="right")
    for i, name in enumerate(names):
        values = [f"{100 * values[i]:.2f}" if values[i] else "-" for values in shares.values()]
        table.add_row(name, *values, end_section=i == len(names) - 2)
    return table


def lines(title: str, findings: "list[Finding]") -> list[str]:
    """Findings by kind, the first few of each."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind, message in findings:
        kinds[kind].append(message)
    result = [f"{title}: {len(findings) or 'none'}"]
    for kind, messages in kinds.items():
        result += [f"  {kind}: {message}" for message in messages[:SHOWN]]
        if len(messages) > SHOWN:
            result.append(f"  {kind}: and {len(messages) - SHOWN} more")
    return result


if __name__ == "__main__":
    entry_point("check", check)
