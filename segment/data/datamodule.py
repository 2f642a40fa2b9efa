"""The LightningDataModule that every data set shares."""

import math
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

import lightning as L
from lightning.fabric.utilities import rank_zero_only
from torch.utils.data import DataLoader

from segment.data.classes import Classes
from segment.data.dataset import Batch, Sample, SegmentationDataset, as_it_is, check_headers
from segment.data.downloads.fetch import Release, download_missing
from segment.data.labels import Labels, index_labels
from segment.data.layout import Located
from segment.data.samplers import EvalSampler, TrainSampler
from segment.data.transforms import train_transform
from segment.errors import SegmentError


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_pair(values: Any, kind: type | UnionType) -> bool:
    return isinstance(values, Sequence) and len(values) == 2 and all(isinstance(value, kind) for value in values)


def outlive_signals(worker: int) -> None:
    """Let a loader's worker serve for another minute when its whole process group is told to stop.

    The training process wants to reach the end of its step and save; without its workers it can do neither.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(60))
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # Slurm's, for the training process
        signal.signal(number, signal.SIG_IGN)


def count_shared(images: Iterable[Iterable[str]], others: Iterable[str]) -> int:
    """Return the number of images that have one of their fingerprints among those of other images."""
    known = {*others}
    return sum(not known.isdisjoint(fingerprints) for fingerprints in images)


class SegmentationDataModule(Located, L.LightningDataModule):
    """Loaders for training (random crops, in batches) and evaluation (whole images, one at a time).

    A data set is a subclass that says what its classes are and which files belong to a split.

    Args:
        root: folder of the data set; ``~`` is the home folder.
        batch_size: images per training step and process.
        num_workers: loader processes per training process; None for as many as there are cores, 8 at most.
        crop_size: height and width of a training crop, in pixels; None for whole images, one per batch.
        scale, short_side, cat_max_ratio, flip, rotation, elastic, colour: see
            :func:`segment.data.transforms.train_transform`.
        train_split, val_split: what ``segment.train`` learns from and what it measures on.
        seed: of order and augmentation.
        download: whether what is missing below ``root`` is downloaded.
        url, checksum: see :func:`segment.data.downloads.fetch.provide`.

    Raises:
        SegmentError: an argument is out of range.
    """

    name: str = ""
    """Name of the data set in metrics.json and reports, such as "voc"; by default the class's name."""
    classes: Classes
    official_sizes: Mapping[str, int] = {}
    """Number of samples of each split as published."""
    mask_suffix = ""
    """What a mask's name has behind its image's, before the suffix."""

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
        train_split: str = "train",
        val_split: str = "val",
        seed: int = 0,
        download: bool = False,
        url: str | None = None,
        checksum: str | None = None,
    ) -> None:
        super().__init__()
        if num_workers is None:
            num_workers = min(8, cores())
        if not (
            (batch_size == 1 if crop_size is None else _is_pair(crop_size, int) and min(crop_size) >= 1)
            and (_is_pair(scale, int | float) and 0 < scale[0] <= scale[1] < math.inf)
            and (batch_size >= 1 and num_workers >= 0 and seed >= 0)
        ):
            raise SegmentError(
                "data: expected crop_size=[HEIGHT,WIDTH] (or null with batch_size=1), scale=[LOW,HIGH], batch_size "
                "from 1, num_workers from 0 and seed from 0, "
                f"but got {crop_size}, {scale}, {batch_size}, {num_workers} and {seed}"
            )
        self.name = self.name or type(self).__name__
        self.root = Path(root).expanduser()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.train_split, self.val_split = train_split, val_split
        self.download, self.url, self.checksum = download, url, checksum
        self.transform = train_transform(crop_size, scale, short_side, cat_max_ratio, flip, rotation, elastic, colour)
        self.start = (0, 0)
        """Epoch and batch that training begins with: a run that goes on had those before."""
        self._datasets: dict[tuple[str, bool], SegmentationDataset] = {}
        self._ready = False

    def samples(self, split: str) -> list[Sample]:
        """The files of a split ("train", "val", "test" or one of the data set's own)."""
        raise SegmentError(f"{type(self).__name__} has no split {split!r}")

    @property
    def labels(self) -> Labels:
        """What the values of a mask file stand for."""
        return index_labels(len(self.classes))

    def missing(self) -> list[Release]:
        """What ``download`` would have to bring.

        Raises:
            SegmentError: this data set can't be downloaded.
        """
        raise SegmentError(f"data.download=true: {type(self).__name__} has nothing to download")

    def dataset(self, split: str, augment: bool = False) -> SegmentationDataset:
        """The checked data set of a split, with or without random augmentation; checked and made once.

        Raises:
            SegmentError: a file is missing, or of the wrong size or mode.
        """
        key = (split, augment)
        if key not in self._datasets:
            dataset = self.make_dataset(split, self.transform if augment else None)
            self.inspect(dataset)
            self._datasets[key] = dataset
        return self._datasets[key]

    def make_dataset(self, split: str, transform: Callable | None) -> SegmentationDataset:
        """What :meth:`dataset` checks and keeps."""
        return SegmentationDataset(self.samples(split), self.labels, transform, self.seed)

    def inspect(self, dataset: SegmentationDataset) -> None:
        """What is looked at once, before a data set is used.

        Raises:
            SegmentError: see :meth:`dataset`.
        """
        check_headers(dataset.samples, dataset.labels)

    def prepare_data(self) -> None:
        if self.download:
            download_missing(self.missing, self.root, self.url, self.checksum)

    def setup(self, stage: str) -> None:
        if stage == "fit" and not self._ready:  # segment.train sets up first, Lightning's Trainer again
            self._ready = True
            train, val = self.dataset(self.train_split, augment=True), self.dataset(self.val_split)
            self.expect_masks(self.train_split, train)
            self.expect_masks(self.val_split, val)
            self._note_shared_images(val)

    @rank_zero_only
    def _note_shared_images(self, val: SegmentationDataset) -> None:
        if shared := count_shared(self.fingerprints(val), self.training_fingerprints()):
            share = f"{shared} of {len(val)} images of {self.val_split}"
            print(f"note: {share} are also in {self.train_split}, so these scores are optimistic")

    def fingerprints(self, dataset: SegmentationDataset) -> list[tuple[str, ...]]:
        """Return the fingerprints of each image: two images with one in common are the same, in other runs too."""
        return [(fingerprint,) for fingerprint in dataset.image_fingerprints]

    def training_fingerprints(self) -> list[str]:
        """Return all fingerprints of the training images for the checkpoint's metadata.

        The files are read on rank 0 alone, which writes the checkpoint; other ranks return an empty list.
        """
        images = rank_zero_only(self.fingerprints, [])(self.dataset(self.train_split, augment=True))
        return [fingerprint for image in images for fingerprint in image]

    def expect_masks(self, split: str, dataset: SegmentationDataset) -> None:
        """What training and measuring need.

        Raises:
            SegmentError: the images of this split have no masks.
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
        """Every image of a split once, whole and unchanged, one per batch; shared out between processes."""
        data = self.dataset(split)
        return self._loader(data, EvalSampler(len(data), *self._rank()), 1)

    def content_hashes(self) -> dict[str, str]:
        """Return a hash of the training and of the validation split, by name; see
        :meth:`SegmentationDataset.content_hash`."""
        train, val = self.dataset(self.train_split, augment=True), self.dataset(self.val_split)
        return {self.train_split: train.content_hash(), self.val_split: val.content_hash()}

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: SegmentationDataset, sampler, batch_size: int) -> DataLoader[Batch]:
        return DataLoader(
            data,  # type: ignore[arg-type]  # its __getitems__ makes the batches
            batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=as_it_is,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=self.num_workers > 0,
            worker_init_fn=outlive_signals if hasattr(signal, "alarm") else None,  # Windows has no such signals
        )
