"""Read a whole data set and find what would spoil a training or its figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from segment.data.classes import IGNORE
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Problem, Sample
from segment.data.images import IMAGE_SUFFIXES
from segment.data.inspection import Facts, read
from segment.errors import SegmentError


@dataclass
class Split:
    """One split's totals."""

    samples: int = 0
    read: int = 0
    sizes: Counter = field(default_factory=Counter)
    """Number of images by (width, height)."""
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    """Number of pixels by label; those at 255 are void."""


@dataclass
class Report:
    """Totals by split; problems, which spoil a training or its figures, and notes, which need not."""

    splits: dict[str, Split] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def shares(self, name: str, count: int) -> list[float]:
        """Of a split, each class's share of all pixels, and void's last."""
        pixels = self.splits[name].pixels
        return [float(n) / max(1, int(pixels.sum())) for n in (*pixels[:count], pixels[IGNORE])]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain data: counts, sizes, pixels by class name, problems and notes by kind."""
        return {
            "splits": {
                name: {
                    "samples": split.samples,
                    "sizes": {f"{w}x{h}": count for (w, h), count in split.sizes.most_common()},
                    "pixels": {label: int(split.pixels[i]) for i, label in enumerate(names)},
                    "void": int(split.pixels[IGNORE]),
                }
                for name, split in self.splits.items()
            },
            "problems": [problem._asdict() for problem in self.problems],
            "notes": [note._asdict() for note in self.notes],
        }


def check(
    data: SegmentationDataModule,
    splits: Sequence[str],
    progress: Callable[[Iterable[Facts], str, int], Iterable[Facts]] = lambda facts, split, total: facts,
) -> Report:
    """Read all pairs of the given splits and judge them.

    Args:
        progress: wraps the iterable of a split's facts, as ``rich.progress.track`` does.
    """
    report = Report()
    seen: dict[str, dict[str, str]] = {}  # split: digest: id
    samples: list[Sample] = []
    for name in splits:
        try:
            dataset = data.make_dataset(name, None)
        except SegmentError as error:
            problem = Problem("split", str(error))
            report.problems += [problem] if problem not in report.problems else []  # of a whole folder, say it once
            continue
        if name in {data.train_split, data.val_split}:
            try:
                data.expect_masks(name, dataset)
            except SegmentError as error:
                report.problems.append(Problem("no masks", str(error)))
        ids = [dataset.id(i) for i in range(len(dataset))]
        report.splits[name], seen[name] = _totals(progress(read(dataset), name, len(ids)), ids, name, report)
        samples += dataset.samples
        _judge_list(name, ids, data, report)
    _judge_leaks(seen, report)
    _judge_classes(data, report)
    _judge_leftovers(samples, data.mask_suffix, report)
    return report


def _totals(facts: Iterable[Facts], ids: Sequence[str], name: str, report: Report) -> tuple[Split, dict[str, str]]:
    """A split's totals, and its ids by content; problems of single pairs go into the report."""
    total = Split(samples=len(ids))
    seen: dict[str, str] = {}
    for identity, fact in zip(ids, facts, strict=True):
        if fact.problem:
            report.problems.append(fact.problem)
            continue
        total.read += 1
        total.sizes[fact.size] += 1
        if seen.setdefault(fact.digest, identity) != identity:
            report.notes.append(
                Problem("same content", f"{name}: {seen[fact.digest]} and {identity} are the same image")
            )
        if fact.pixels is not None:
            total.pixels += fact.pixels
            if not fact.pixels[:IGNORE].any():
                report.notes.append(Problem("only void", f"{name}: {identity} has no labelled pixel"))
    return total, seen


def _judge_list(name: str, ids: Sequence[str], data: SegmentationDataModule, report: Report) -> None:
    twice = [identity for identity, count in Counter(ids).items() if count > 1]
    if twice:
        report.problems.append(Problem("listed twice", f"{name}: {_some(twice)}"))
    official = data.official_sizes.get(name)
    if official is not None and len(ids) != official:
        report.notes.append(Problem("number", f"{name}: {len(ids)} samples; as published it has {official}"))


def _judge_leaks(seen: dict[str, dict[str, str]], report: Report) -> None:
    """Images of one split in another, under the same name or another."""
    for first, second in combinations(seen, 2):
        pairs = [(seen[first][digest], seen[second][digest]) for digest in seen[first] if digest in seen[second]]
        if pairs:
            shown = [a if a == b else f"{a} (there {b})" for a, b in pairs]
            report.problems.append(
                Problem("leakage", f"{len(pairs)} images of {first} are in {second}, too: {_some(shown)}")
            )


def _judge_leftovers(samples: Sequence[Sample], mask_suffix: str, report: Report) -> None:
    """What no split uses: images in folders within folders; masks whose image is missing, or there and not listed."""
    used = {path for sample in samples for path in (sample.image, sample.mask)}
    shown = {(sample.image.parent, sample.image.stem) for sample in samples}
    folders = {sample.mask.parent: sample.image.parent for sample in samples if sample.mask is not None}
    for images in sorted({sample.image.parent for sample in samples}):
        deeper = [path for path in images.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES and path not in used]
        if deeper:
            names = sorted(str(path.relative_to(images)) for path in deeper)
            report.notes.append(
                Problem("deeper", f"{len(names)} images in folders within {images} are not used: {_some(names)}")
            )
    unlisted = []
    for masks, images in folders.items():
        stems = {path.stem for path in images.iterdir()} if images.is_dir() else set()
        for mask in sorted(masks.iterdir()) if masks.is_dir() else ():
            if mask.suffix.lower() not in IMAGE_SUFFIXES or mask.name.startswith(".") or mask in used:
                continue
            stem = mask.stem.removesuffix(mask_suffix)
            if not mask.stem.endswith(mask_suffix) or (images, stem) in shown:
                continue  # no mask, or one of several masks of an image
            if stem in stems:
                unlisted.append(stem)
            else:
                report.problems.append(Problem("missing image", f"{mask} has no image in {images}"))
    if unlisted:
        report.notes.append(
            Problem("unlisted", f"{len(unlisted)} pairs are in none of these splits: {_some(unlisted)}")
        )


def _judge_classes(data: SegmentationDataModule, report: Report) -> None:
    names = data.classes.names
    train = report.splits.get(data.train_split)
    for name, split in report.splits.items():
        if not split.pixels.any():
            continue
        present = np.flatnonzero(split.pixels[: len(names)])
        if len(present) == 0:
            report.problems.append(Problem("only void", f"{name}: no mask has a labelled pixel"))
        elif len(present) == 1:
            hint = (
                ": if 255 is a class, name it with data.classes={0:background,255:NAME}" if split.pixels[IGNORE] else ""
            )
            report.problems.append(Problem("one class", f"{name}: all labelled pixels are {names[present[0]]!r}{hint}"))
        absent = [label for i, label in enumerate(names) if not split.pixels[i]]
        if absent and len(present) > 1:
            report.notes.append(Problem("absent", f"{name}: no pixel of {_some(absent)}"))
        if train is not None and split is not train and train.pixels.any():
            unseen = [names[i] for i in present if not train.pixels[i]]
            if unseen:
                report.notes.append(
                    Problem("never trained", f"{name} has classes that {data.train_split} has not: {_some(unseen)}")
                )


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
