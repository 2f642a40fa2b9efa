"""Data sets of PyTorch: samples by index, augmentation, batches."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from segment.data.augmentation import generators_restored, seed_generators
from segment.data.classes import IGNORE
from segment.data.images import Reading, image_fingerprint
from segment.data.labels import Labels
from segment.data.pairs import Finding, Sample, read_pair
from segment.data.samplers import Draw
from segment.data.transforms import RandomScaleCrop
from segment.data.unknown_values import UnknownValues, count_unknown, unknown_message
from segment.errors import SegmentError


class Item(TypedDict):
    """image: uint8 (3,H,W) RGB; mask: uint8 (H,W), 255 for ignored pixels; id: the sample's name."""

    image: Tensor
    mask: Tensor
    id: str


class Batch(TypedDict):
    """image: uint8 (N,3,H,W) RGB; mask: uint8 (N,H,W), 255 for ignored pixels; id: the samples' names.

    Example:
        >>> image, mask = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> batch: Batch = {"image": image, "mask": mask, "id": ["a"]}
    """

    image: Tensor
    mask: Tensor
    id: list[str]


def identity_collate(batch: Any) -> Any:
    """Return a batch unchanged: :meth:`SegmentationDataset.__getitems__` makes whole batches."""
    return batch


def seed_of(*numbers: int) -> int:
    """Return a seed for torch's generators that depends on each of the numbers and on their order."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class SegmentationDataset(Dataset[Item]):
    """Images and masks by index.

    Args:
        samples: files of each pair.
        labels: translation of mask values to labels.
        transform: ``(Image, Mask) -> (Image, Mask)``, or None for unchanged pairs.
        seed: seed of all random choices of ``transform``, together with the draw's epoch and index. An image looks the
            same whichever worker or rank reads it.

    Example:
        >>> from pathlib import Path
        >>> dataset = SegmentationDataset([Sample("a", Path("a.jpg"), None)], Labels({0: 0}), transform=None, seed=0)
        >>> len(dataset), dataset.has_masks
        (1, False)
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Labels,
        transform: Callable | None,
        seed: int,
        reading: Reading | None = None,
    ) -> None:
        self.samples, self.labels, self.transform, self.seed = samples, labels, transform, seed
        self.reading = reading or Reading()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_masks(self) -> bool:
        return all(sample.mask is not None for sample in self.samples)

    def id(self, index: int) -> str:
        return self.samples[index].id

    def identity(self) -> Any:
        """Return plain data that differs between data sets: names and sizes of all files, and the labels."""
        files = [(s.id, *(path and path.stat().st_size for path in (s.image, s.mask))) for s in self.samples]
        return files, sorted(self.labels.table.items())

    def listing_hash(self) -> str:
        """Return a hash of :meth:`identity`. No file is opened, and no folder is part of it: data may move."""
        return hashlib.sha256(repr(self.identity()).encode()).hexdigest()[:16]

    @cached_property
    def image_fingerprints(self) -> list[str]:
        """Fingerprint of each image, independent of its name; see :func:`segment.data.images.image_fingerprint`."""
        with ThreadPoolExecutor(8) as pool:
            return [*pool.map(image_fingerprint, (sample.image for sample in self.samples))]

    def unknown_values(self) -> SegmentError:
        """Return the error that lists all values of the masks that the labels lack; all masks are read."""
        found = count_unknown([sample.mask for sample in self.samples if sample.mask], self.labels)
        return SegmentError(unknown_message(found, self.labels, sum(one.total for one in found)))

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        """Return image uint8 (3,H,W) and mask uint8 (H,W), not transformed. A missing mask is all 255.

        Raises:
            SegmentError: a file is unreadable, image and mask differ in size, or a label is out of range.
        """
        found = read_pair(self.samples[index], self.labels, self.reading)
        if isinstance(found, Finding):
            raise SegmentError(found.message)
        if isinstance(found, UnknownValues):
            raise self.unknown_values()
        image, mask = found
        return image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8) if mask is None else mask

    def __getitem__(self, key: int | Draw) -> Item:
        with self._generators_kept():
            return self._item(key)

    def _generators_kept(self) -> AbstractContextManager[None]:
        return nullcontext() if self.transform is None else generators_restored()

    def _item(self, key: int | Draw, out: tuple[Tensor, Tensor] | None = None) -> Item:
        """Return an item, in the memory ``out`` of an image and a mask if the transform can write there."""
        draw = key if isinstance(key, Draw) else Draw(key)
        image, mask = self.load(draw.sample)
        if self.transform is not None:
            seed_generators(seed_of(self.seed, draw.epoch, draw.sample, draw.repetition))
            options = {"out": out} if type(self.transform) is RandomScaleCrop else {}
            image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask), **options)
        if draw.padding:
            mask = torch.full_like(mask, IGNORE)
        return {
            "image": image.as_subclass(Tensor),
            "mask": mask.as_subclass(Tensor),
            "id": self.id(draw.sample),
        }

    def __getitems__(self, keys: Sequence[int | Draw]) -> Batch:
        """Return a batch of items of one size; torch's loaders call this method where a data set has it.

        Crops are written into the batch's memory. Other items are copied into it at once, so that their memory serves
        for the next one: this is faster than collecting all items first. Images are channels last, as they are decoded
        and as convolutions prefer.
        """
        ids = []
        with self._generators_kept():
            first = self._item(keys[0])
            shape = (len(keys), *first["image"].shape)
            image = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
            mask = torch.empty((len(keys), *first["mask"].shape), dtype=torch.uint8)
            for i, key in enumerate(keys):
                item = self._item(key, (image[i], mask[i])) if i else first
                for target, own in ((image[i], item["image"]), (mask[i], item["mask"])):
                    if not own.is_set_to(target):
                        target.copy_(own)
                ids.append(item["id"])
        return {"image": image, "mask": mask, "id": ids}
