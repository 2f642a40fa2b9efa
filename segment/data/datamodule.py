"""The LightningDataModule that all data sets share."""

import atexit
import hashlib
import math
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any

import lightning as L
import numpy as np
from lightning.fabric.utilities import rank_zero_only
from torch.utils.data import DataLoader

from segment.console import print_once
from segment.data.classes import Classes
from segment.data.consistency import find_bits, header_notes, palette_problem
from segment.data.dataset import Batch, SegmentationDataset, identity_collate
from segment.data.downloads.fetch import Release, download_missing
from segment.data.folds import DividedImages, divide, read_folds
from segment.data.image_groups import group_images, shared_groups
from segment.data.images import Reading
from segment.data.labels import Labels, index_labels
from segment.data.layout import DiskLayout
from segment.data.pairs import Finding, PairHeaders, Sample, check_headers
from segment.data.samplers import EvalSampler, TrainSampler
from segment.data.transforms import train_transform
from segment.data.workers import PREFETCH, check_shared_memory, cores, delay_signals, end_workers
from segment.errors import NoSplitError, SegmentError

atexit.register(end_workers)  # after torch's import of multiprocessing.util, so that it runs before that one's hook

MAX_WORKERS = 1024
"""Loader processes of a training process."""


def _check_batches(
    crop_size: Sequence[int] | None, scale: Sequence[float], batch_size: int, num_workers: int, seed: int
) -> None:
    """Raise a SegmentError if one of these is out of range."""
    if not (
        (batch_size == 1 if crop_size is None else _is_pair(crop_size, int) and min(crop_size) >= 1)
        and (_is_pair(scale, int | float) and 0 < scale[0] <= scale[1] < math.inf)
        and (batch_size >= 1 and 0 <= num_workers <= MAX_WORKERS and 0 <= seed < 2**32)
    ):
        raise SegmentError(
            "data: expected crop_size=[HEIGHT,WIDTH] (or null with batch_size=1), scale=[LOW,HIGH], batch_size "
            f"from 1, num_workers from 0 to {MAX_WORKERS:,} and seed from 0, "
            f"but got {crop_size}, {scale}, {batch_size}, {num_workers} and {seed}"
        )


def _is_pair(values: Any, kind: type | UnionType) -> bool:
    return isinstance(values, Sequence) and len(values) == 2 and all(isinstance(value, kind) for value in values)


def count_shared(images: Iterable[Iterable[str]], others: Iterable[str]) -> int:
    """Return the number of images that have one of their fingerprints among those of other images."""
    among = {*others}
    return sum(not among.isdisjoint(fingerprints) for fingerprints in images)


class SegmentationDataModule(DiskLayout, L.LightningDataModule):
    """Loaders for training (random crops, in batches) and evaluation (whole images, one at a time).

    A data set is a subclass that states its ``name``, its ``classes``, its ``layout`` on disk and the files of each
    split (``samples``). Where they apply, it also states how mask values become labels (``labels``), the published
    number of samples (``official_sizes``) and the archives to download (``missing``).

    Args:
        root: folder of the data set; ``~`` is the home folder.
        batch_size: images per training step and process.
        num_workers: loader processes per training process; None for as many as there are cores, at most 8.
        crop_size: height and width of a training crop in pixels; None for whole images, which needs batch_size=1.
        scale, short_side, cat_max_ratio, flip, rotation, elastic, colour, augment: see
            :func:`segment.data.transforms.train_transform`.
        bands, bits, mask_exif: see :class:`segment.data.images.Reading`. Without ``bits``, images of 16 bits are read
            as of the fewest bits that hold the values of all images.
        train_split, val_split: splits for training and validation.
        seed: seed of order and augmentation.
        download: True to download what is missing below ``root``.
        url, checksum: see :func:`segment.data.downloads.fetch.download_missing`.
        groups: arguments of :func:`segment.data.image_groups.group_images`, where images are not independent.
        folds, fold: number of folds of a cross-validation, and the one that is held out, from 0. The validation split
            is then that fold, and the training split all others; the other splits are as they are.
        folds_from: splits whose images are divided into folds; ``groups`` stay together.
        folds_seed: seed of that division. It is not the run's, so that all runs have the same folds.

    Raises:
        SegmentError: an argument is out of range.

    Example:
        >>> class Cells(SegmentationDataModule):
        ...     name, classes = "cells", Classes(("background", "cell"), ((0, 0, 0), (255, 0, 0)))
        >>> Cells("~/cells", batch_size=4).labels.table
        {0: 0, 1: 1, 255: 255}
    """

    name: str = ""
    """Name of the data set in metrics.json and reports, such as "voc"; the default is the name of the class."""
    classes: Classes
    official_sizes: Mapping[str, int] = {}
    """Published number of samples of each split."""
    palette: str | None = "indices"
    """"indices" if the stored values of masks with a palette are the labels; None if palettes have to agree."""

    def __init__(
        self,
        root: str,
        batch_size: int = 8,
        num_workers: int | None = None,
        crop_size: Sequence[int] | None = (512, 512),
        scale: Sequence[float] = (0.5, 2.0),
        short_side: int | None = None,
        cat_max_ratio: float = 1.0,
        flip: float = 0.5,
        rotation: float = 0.0,
        elastic: float = 0.0,
        colour: float = 0.0,
        augment: Sequence[Any] = (),
        bands: Sequence[int] | None = None,
        bits: int | None = None,
        mask_exif: str = "own",
        train_split: str = "train",
        val_split: str = "val",
        seed: int = 0,
        download: bool = False,
        url: str | None = None,
        checksum: str | None = None,
        groups: Mapping[str, Any] | None = None,
        folds: int | None = None,
        fold: int | None = None,
        folds_from: Sequence[str] = ("train",),
        folds_seed: int = 0,
    ) -> None:
        super().__init__()
        if num_workers is None:
            num_workers = min(8, cores())
        _check_batches(crop_size, scale, batch_size, num_workers, seed)
        self.name = self.name or type(self).__name__
        self.root = Path(root).expanduser()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.train_split, self.val_split = train_split, val_split
        self.download, self.url, self.checksum = download, url, checksum
        self.crop_size, self.groups = crop_size, groups or {}
        self.folds = read_folds(folds, fold, folds_from, folds_seed)
        if self.folds and train_split == val_split:
            raise SegmentError(f"data.folds={folds}: data.train_split and data.val_split are both {val_split!r}")
        self.transform = train_transform(
            crop_size, scale, short_side, cat_max_ratio, flip, rotation, elastic, colour, augment
        )
        self.reading = Reading(bands, bits, mask_exif)
        self.start = (0, 0)
        """Epoch and batch at which training starts; not (0, 0) for a resumed run."""
        self._datasets: dict[tuple[str, bool], SegmentationDataset] = {}
        self._headers: dict[Sample, PairHeaders] = {}
        self._ready = False

    def samples(self, split: str) -> list[Sample]:
        """Return the files of a split: "train", "val", "test" or one of the data set's own."""
        raise NoSplitError(f"{type(self).__name__} has no split {split!r}")

    def split_samples(self, split: str) -> list[Sample]:
        """Return the files of a split as training uses it: with ``folds``, the fold that is held out, or the others."""
        if not self._is_divided(split):
            return self.samples(split)
        assert self.folds is not None
        held_out = split == self.val_split
        found = zip(self.divided.samples, self.divided.folds, strict=True)
        return [sample for sample, fold in found if (fold == self.folds.fold) == held_out]

    def _is_divided(self, split: str) -> bool:
        return self.folds is not None and split in (self.train_split, self.val_split)

    @cached_property
    def divided(self) -> DividedImages:
        """The images of a cross-validation with their folds."""
        assert self.folds is not None
        return divide([one for split in self.folds.splits for one in self.samples(split)], self.folds, self.groups)

    def describe_folds(self, split: str) -> dict[str, Any]:
        """Return what identifies the cross-validation of a split, for ``metrics.json``; empty without one."""
        if self.folds is None or split != self.val_split:
            return {}
        files = SegmentationDataset(self.divided.samples, self.labels, None, self.seed, self.reading).listing_hash()
        files = hashlib.sha256(repr((files, self.divided.folds)).encode()).hexdigest()[:16]
        found = {"number": self.folds.number, "fold": self.folds.fold, "of": self.folds.describe()}
        return {"folds": {**found, "images": len(self.divided.samples), "files": files}}

    @property
    def labels(self) -> Labels:
        """Translation of mask values to labels; by default value k is class k and 255 is ignored."""
        return index_labels(len(self.classes))

    def image_stem(self, mask: Path) -> str | None:
        """Return the name, without a suffix, of a mask's image; None if the file is no mask."""
        return mask.stem

    def findings(self) -> tuple[list[Finding], list[Finding]]:
        """Return problems and notes that no single pair shows, for ``segment.check``."""
        return [], []

    def counts(self) -> dict[str, dict[str, int]]:
        """Return tables of what the annotations hold, such as objects by label, for ``segment.check``."""
        return {}

    def missing(self) -> list[Release]:
        """Return the releases to download.

        Raises:
            SegmentError: this data set cannot be downloaded.
        """
        raise SegmentError(f"data.download=true: {type(self).__name__} has nothing to download")

    def dataset(self, split: str, augment: bool = False) -> SegmentationDataset:
        """Return the data set of a split, with or without random augmentation. It is made and checked once.

        Raises:
            SegmentError: a file is missing, or has a wrong size or mode.
        """
        key = (split, augment)
        if key not in self._datasets:
            dataset = self.make_dataset(split, self.transform if augment else None)
            self.check_dataset(dataset)
            self._datasets[key] = dataset
        return self._datasets[key]

    def make_dataset(self, split: str, transform: Callable | None) -> SegmentationDataset:
        """Return the data set of a split, unchecked."""
        return SegmentationDataset(self.split_samples(split), self.labels, transform, self.seed, self.reading)

    def check_dataset(self, dataset: SegmentationDataset) -> None:
        """Check a data set before its first use. Its files must also agree with those of the data sets checked earlier.

        Raises:
            SegmentError: see :meth:`dataset`.
        """
        headers = check_headers(dataset.samples, dataset.labels, self.reading)
        new = {sample: pair for sample, pair in headers.items() if sample not in self._headers}
        self._headers |= new
        if problem := self.palette_problem(self._headers):
            raise SegmentError(problem.message)
        notes = header_notes(new, self.reading)
        if any(pair.image.depth == 16 for pair in new.values()):
            notes += self.find_bits(dataset.samples)
        for note in notes:
            print_once(f"note: {note.message}")

    def palette_problem(self, headers: Mapping[Sample, PairHeaders]) -> Finding | None:
        """Return a problem if a value has different meanings in two masks; see :mod:`segment.data.consistency`."""
        return None if self.palette or self.labels.coloured else palette_problem(headers, self.labels)

    def find_bits(self, samples: Sequence[Sample] = ()) -> list[Finding]:
        """Set the depth at which images of 16 bits are read, and return a note if it is less.

        All training and validation images count, so that the depth does not depend on which split is read first.
        """
        if self.reading.bits is not None:
            return []
        paths = dict.fromkeys(sample.image for sample in samples)
        for split in (self.train_split, self.val_split):
            with suppress(SegmentError):
                paths |= dict.fromkeys(sample.image for sample in self.split_samples(split))
        self.reading.bits = bits = find_bits(paths, self.reading)
        if bits in {None, 16}:
            return []
        return [Finding("bits", f"images of 16 bits are read as of {bits}, which hold all values (data.bits={bits})")]

    def settings(self) -> dict[str, Any]:
        """Add the depth that was found; see :meth:`find_bits`."""
        return {**super().settings(), "bits": self.reading.bits}

    def prepare_data(self) -> None:
        if self.download:
            download_missing(self.missing, self.root, self.url, self.checksum)

    def setup(self, stage: str) -> None:
        if stage == "fit" and not self._ready:  # first called by segment.train, again by Lightning's Trainer
            self._ready = True
            train, val = self.dataset(self.train_split, augment=True), self.dataset(self.val_split)
            self.require_masks(self.train_split, train)
            self.require_masks(self.val_split, val)
            self.image_groups(self.val_split)  # training would be over when its evaluation found a mistake
            self._note_shared_images(val)
            ids = ([dataset.id(i) for i in range(len(dataset))] for dataset in (train, val))
            if shared := shared_groups(*ids, **self.groups):
                print_once(f"note: {self.train_split} and {self.val_split} share {shared}; the score is optimistic")
            train_bytes = self._image_bytes(train) if self.crop_size is None else 4 * math.prod(self.crop_size)
            check_shared_memory(self._held_batches * (self.batch_size * train_bytes + self._image_bytes(val)))

    @property
    def _held_batches(self) -> int:
        """Number of batches that the workers of a loader keep ready."""
        return self.num_workers * PREFETCH

    def _image_bytes(self, dataset: SegmentationDataset) -> int:
        """Return the bytes of the largest image and its mask; 0 for images that are drawn, which are small."""
        sizes = (self._headers[sample].image.size for sample in dataset.samples if sample in self._headers)
        return 4 * max((width * height for width, height in sizes), default=0)

    @rank_zero_only
    def _note_shared_images(self, val: SegmentationDataset) -> None:
        if shared := count_shared(self.fingerprints(val), self.training_fingerprints()):
            share = f"{shared} of {len(val)} images of {self.val_split}"
            print(f"note: {share} are also in {self.train_split}, so scores on {self.val_split} are optimistic")

    def fingerprints(self, dataset: SegmentationDataset) -> list[tuple[str, ...]]:
        """Return the fingerprints of each image: two images are the same if they have one in common."""
        return [(fingerprint,) for fingerprint in dataset.image_fingerprints]

    def image_groups(self, split: str) -> np.ndarray | None:
        """Return the group of each image of a split (N,); None where images are independent.

        Raises:
            SegmentError: ``groups`` does not fit the images' ids.
        """
        dataset = self.dataset(split)
        if self._is_divided(split):  # blocks of neighbouring images are those of all folds
            of_all = self.divided.groups
            of_image = dict(zip((one.id for one in self.divided.samples), of_all or (), strict=False))
            return np.array([of_image[sample.id] for sample in dataset.samples]) if of_all else None
        groups = group_images([dataset.id(i) for i in range(len(dataset))], **self.groups)
        return None if groups is None else np.array(groups)

    def training_fingerprints(self) -> list[str]:
        """Return all fingerprints of the training images, for a checkpoint's metadata.

        Only rank 0 writes checkpoints: other ranks read no image and return an empty list.
        """
        images = rank_zero_only(self.fingerprints, [])(self.dataset(self.train_split, augment=True))
        return [fingerprint for image in images for fingerprint in image]

    def require_masks(self, split: str, dataset: SegmentationDataset) -> None:
        """Check that all images of a split have masks.

        Raises:
            SegmentError: masks are missing.
        """
        if not dataset.has_masks:
            raise SegmentError(
                f"the images of the split {split!r} have no masks at data.root={self.root}: expected {self.layout}"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        data = self.dataset(self.train_split, augment=True)
        sampler = TrainSampler(len(data), self.batch_size, self.seed, *self._rank(), self.start)
        return self._loader(data, sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader(self.val_split)

    def eval_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return a loader of every image of a split once, whole and unchanged, one per batch, shared between ranks."""
        data = self.dataset(split)
        if not self._ready:  # an evaluation alone
            check_shared_memory(self._held_batches * self._image_bytes(data))
        return self._loader(data, EvalSampler(len(data), *self._rank()), 1)

    def listing_hashes(self) -> dict[str, str]:
        """Return :meth:`SegmentationDataset.listing_hash` of the training and the validation split, by split.

        With ``folds``, also a hash of all images and their folds, which is the same whichever fold is held out.
        """
        train, val = self.dataset(self.train_split, augment=True), self.dataset(self.val_split)
        hashes = {self.train_split: train.listing_hash(), self.val_split: val.listing_hash()}
        return hashes | {key: found["files"] for key, found in self.describe_folds(self.val_split).items()}

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: SegmentationDataset, sampler, batch_size: int) -> DataLoader[Batch]:
        return DataLoader(
            data,  # type: ignore[arg-type]  # its __getitems__ makes the batches
            batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=identity_collate,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=self.num_workers > 0,
            worker_init_fn=delay_signals if hasattr(signal, "alarm") else None,  # Windows has no such signals
        )
