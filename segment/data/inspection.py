"""What reading the pairs of a data set tells, with all cores."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segment.data.datamodule import cores
from segment.data.dataset import Problem, SegmentationDataset, as_it_is, header_problem, read_pair


class Facts(NamedTuple):
    """What reading a pair gave; ``pixels`` (256,) are counts by label, ``digest`` stands for the image's content."""

    problem: Problem | None
    size: tuple[int, int] = (0, 0)
    digest: str = ""
    pixels: np.ndarray | None = None


class Inspection(Dataset[Facts]):
    """A data set's pairs as facts, for a loader whose workers share the reading."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Facts:
        data = self.dataset
        if not data.samples:  # drawn, not read
            return _facts(*data.load(index))
        sample = data.samples[index]
        found = header_problem(sample, data.labels) or read_pair(sample, data.labels)
        return Facts(found) if isinstance(found, Problem) else _facts(*found)


def _facts(image: Tensor, mask: Tensor | None) -> Facts:
    digest = hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).hexdigest()
    pixels = None if mask is None else np.bincount(mask.numpy().ravel(), minlength=256)
    return Facts(None, (image.shape[2], image.shape[1]), f"{digest}/{tuple(image.shape)}", pixels)


def read(dataset: SegmentationDataset) -> Iterator[Facts]:
    """The facts of every sample in order, read by as many processes as there are cores."""
    return iter(
        DataLoader(
            Inspection(dataset),
            batch_size=None,
            num_workers=cores() if len(dataset) > 32 else 0,
            collate_fn=as_it_is,  # type: ignore[arg-type]  # without batches it takes one item
            prefetch_factor=16 if len(dataset) > 32 else None,  # so that no worker waits for a large picture's
        )
    )
