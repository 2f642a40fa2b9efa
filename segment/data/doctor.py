"""Examination of a whole data set: problems that would spoil a training or its metrics."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from segment.data.classes import IGNORE
from segment.data.consistency import header_notes
from segment.data.datamodule import SegmentationDataModule
from segment.data.file_names import MASK_SUFFIXES, name_key
from segment.data.image_groups import group_images, shared_groups
from segment.data.images import IMAGE_SUFFIXES
from segment.data.inspection import PairSummary, summarize_pairs
from segment.data.pairs import Finding, PairHeaders, Sample
from segment.data.unknown_values import UnknownValues, unknown_message
from segment.errors import SegmentError


@dataclass
class SplitTotals:
    """Totals of one split.

    Args:
        samples: number of samples.
        read: number of samples without a problem.
        sizes: number of images by (width, height).
        pixels: number of pixels by label; label 255 is void.
    """

    samples: int = 0
    read: int = 0
    sizes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))


@dataclass
class DataReport:
    """Result of :func:`examine`.

    Args:
        splits: totals by split.
        problems: findings that would spoil a training or its metrics.
        unknown: values of the masks that the labels lack; :func:`examine` makes one problem of them.
        notes: findings that may be harmless.
        counts: see :meth:`segment.data.datamodule.SegmentationDataModule.counts`.
    """

    splits: dict[str, SplitTotals] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    unknown: list[UnknownValues] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add_problem(self, kind: str, message: str) -> None:
        self.problems.append(Finding(kind, message))

    def add_note(self, kind: str, message: str) -> None:
        self.notes.append(Finding(kind, message))

    def shares(self, name: str, count: int) -> list[float]:
        """Return the share of all pixels of a split for each of ``count`` classes, then for void."""
        pixels = self.splits[name].pixels
        return [float(n) / max(1, int(pixels.sum())) for n in (*pixels[:count], pixels[IGNORE])]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain data: counts, sizes, pixels by class name, problems and notes by kind."""
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
            "counts": self.counts,
            "problems": [problem._asdict() for problem in self.problems],
            "notes": [note._asdict() for note in self.notes],
        }


def examine(
    data: SegmentationDataModule,
    splits: Sequence[str],
    progress: Callable[[Iterable[PairSummary], str, int], Iterable[PairSummary]] = lambda pairs, split, total: pairs,
) -> DataReport:
    """Read all pairs of the given splits and report what is wrong with them.

    Args:
        progress: wraps the iterable of a split's pairs, as ``rich.progress.track`` does; it gets the iterable, the
            split's name and the number of pairs.
    """
    problems, notes = data.findings()
    report = DataReport(problems=problems, notes=[*data.find_bits(), *notes], counts=data.counts())
    images: dict[str, dict[str, str]] = {}  # by split: id by hash
    samples: list[Sample] = []
    headers: dict[Sample, PairHeaders] = {}
    for name in splits:
        try:
            dataset = data.make_dataset(name, None)
        except SegmentError as error:
            if not any(problem.message == str(error) for problem in report.problems):  # each split has the same one
                report.add_problem("split", str(error))
            continue
        if name in {data.train_split, data.val_split}:
            try:
                data.require_masks(name, dataset)
            except SegmentError as error:
                report.add_problem("no masks", str(error))
        ids = [dataset.id(i) for i in range(len(dataset))]
        pairs = [*progress(summarize_pairs(dataset), name, len(ids))]
        report.splits[name], images[name] = _totals(pairs, ids, name, report)
        samples += dataset.samples
        headers |= {sample: pair.headers for sample, pair in zip(dataset.samples, pairs, strict=False) if pair.headers}
        _check_list(name, ids, data, report)
    report.notes += header_notes(headers, data.reading)
    if problem := data.palette_problem(headers):
        report.problems.append(problem)
    if report.unknown:
        pixels = sum(one.total for one in report.unknown) + sum(int(s.pixels.sum()) for s in report.splits.values())
        report.add_problem("unknown values", unknown_message(report.unknown, data.labels, pixels))
    _check_leakage(images, report)
    _check_groups(images, data, report)
    _check_classes(data, report)
    used = {path for sample in samples for path in (sample.image, sample.mask)}
    _check_unused_images(samples, used, report)
    _check_unused_masks(samples, used, data.image_stem, report)
    return report


def _totals(
    pairs: Iterable[PairSummary], ids: Sequence[str], name: str, report: DataReport
) -> tuple[SplitTotals, dict[str, str]]:
    """Return a split's totals, and the id of each image by its hash; add problems of single pairs to the report."""
    total = SplitTotals(samples=len(ids))
    images: dict[str, str] = {}
    for identity, pair in zip(ids, pairs, strict=True):
        if pair.problem:
            if isinstance(pair.problem, UnknownValues):
                report.unknown.append(pair.problem)
            else:
                report.problems.append(pair.problem)
            continue
        total.read += 1
        total.sizes[pair.size] += 1
        if (first := images.setdefault(pair.image_hash, identity)) != identity:
            report.add_note("same content", f"{name}: {first} and {identity} are the same image")
        if pair.pixels is not None:
            total.pixels += pair.pixels
            if not pair.pixels[:IGNORE].any():
                report.add_note("only void", f"{name}: {identity} has no labelled pixel")
    return total, images


def _check_list(name: str, ids: Sequence[str], data: SegmentationDataModule, report: DataReport) -> None:
    """Report ids that are listed twice, and a number of samples that differs from the published one."""
    twice = [identity for identity, count in Counter(ids).items() if count > 1]
    if twice:
        report.add_problem("listed twice", f"{name}: {_some(twice)}")
    official = None if data.folds else data.official_sizes.get(name)
    if official is not None and len(ids) != official:
        report.add_note("number", f"{name}: {len(ids)} samples; as published it has {official}")


def _check_leakage(images: dict[str, dict[str, str]], report: DataReport) -> None:
    """Report images of one split that are also in another, under the same name or another."""
    for first, second in combinations(images, 2):
        shared = [(images[first][key], images[second][key]) for key in images[first] if key in images[second]]
        if shared:
            names = [a if a == b else f"{a} (there {b})" for a, b in shared]
            report.add_problem("leakage", f"{len(shared)} images of {first} are in {second}, too: {_some(names)}")


def _check_groups(images: dict[str, dict[str, str]], data: SegmentationDataModule, report: DataReport) -> None:
    """Report a rule for groups that does not fit the images to evaluate, and groups with images in two splits."""
    ids = {name: [*found.values()] for name, found in images.items()}
    try:
        for name in ids.keys() - {data.train_split}:
            group_images(ids[name], **data.groups)
    except SegmentError as error:
        report.add_problem("groups", str(error))
    for first, second in combinations(ids, 2):
        if shared := shared_groups(ids[first], ids[second], **data.groups):
            report.add_note("leakage", f"{first} and {second} share {shared}")


def _check_unused_images(samples: Sequence[Sample], used: Set[Path | None], report: DataReport) -> None:
    """Report unused images in sub-folders of the folders of images."""
    for folder in sorted({sample.image.parent for sample in samples}):
        unused = [path for path in folder.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES and path not in used]
        if unused:
            names = sorted(str(path.relative_to(folder)) for path in unused)
            report.add_note("deeper", f"{len(names)} images in folders within {folder} are not used: {_some(names)}")


def _check_unused_masks(
    samples: Sequence[Sample], used: Set[Path | None], image_stem: Callable[[Path], str | None], report: DataReport
) -> None:
    """Report unused masks: their image is missing, or it exists and is not listed."""
    have_mask = {(sample.image.parent, name_key(sample.image.stem)) for sample in samples}
    unlisted = []
    for masks, images in {sample.mask.parent: sample.image.parent for sample in samples if sample.mask}.items():
        stems = {name_key(path.stem) for path in _sorted_files(images)}
        for mask in _sorted_files(masks):
            if mask.suffix.lower() not in MASK_SUFFIXES or mask.name.startswith(".") or mask in used:
                continue
            stem = image_stem(mask)
            if stem is None or (images, name_key(stem)) in have_mask:
                continue  # the file is no mask, or one of several masks of an image
            if name_key(stem) in stems:
                unlisted.append(stem)
            else:
                report.add_problem("missing image", f"{mask} has no image in {images}")
    if unlisted:
        report.add_note("unlisted", f"{len(unlisted)} pairs are in none of these splits: {_some(unlisted)}")


def _sorted_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check_classes(data: SegmentationDataModule, report: DataReport) -> None:
    """Report splits with fewer than two classes, absent classes, and classes that are not in the training split."""
    names = data.classes.names
    train = report.splits.get(data.train_split)
    for name, split in report.splits.items():
        if not split.pixels.any():
            continue
        present = np.flatnonzero(split.pixels[: len(names)])
        if len(present) == 0:
            report.add_problem("only void", f"{name}: no mask has a labelled pixel")
        elif len(present) == 1:
            hint = (
                ": if 255 is a class, name it with data.classes={0:background,255:NAME}"
                if split.pixels[IGNORE]
                else ": are these the right masks, and does data.classes name their values?"
            )
            report.add_problem("one class", f"{name}: all labelled pixels are {names[present[0]]!r}{hint}")
        absent = [label for i, label in enumerate(names) if not split.pixels[i]]
        if absent and len(present) > 1:
            report.add_note("absent", f"{name}: no pixel of {_some(absent)}")
        if train is not None and split is not train and train.pixels.any():
            unseen = [names[i] for i in present if not train.pixels[i]]
            if unseen:
                report.add_note("never trained", f"{name} has classes that {data.train_split} has not: {_some(unseen)}")


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
