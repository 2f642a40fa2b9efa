"""Summaries of all pairs of a data set, read by one process per core."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segment.data.dataset import SegmentationDataset, identity_collate
from segment.data.pairs import Finding, PairHeaders, header_problem, read_headers, read_pair
from segment.data.unknown_values import UnknownValues
from segment.data.workers import cores


class PairSummary(NamedTuple):
    """Result of reading one pair.

    Args:
        problem: the pair's problem, or the unknown values of its mask; all other values are empty then.
        size: (width, height).
        image_hash: hash of the image's pixels.
        pixels: number of pixels by label (256,); None if the sample has no mask.
        headers: headers of the files, if the data set has files.
    """

    problem: Finding | UnknownValues | None
    size: tuple[int, int] = (0, 0)
    image_hash: str = ""
    pixels: np.ndarray | None = None
    headers: PairHeaders | None = None


class PairSummaries(Dataset[PairSummary]):
    """Summary of each pair of a data set, for a loader whose workers share the reading."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> PairSummary:
        data = self.dataset
        if not data.samples:  # the data set has no files
            return _summary(*data.load(index))
        sample = data.samples[index]
        headers = read_headers(sample)
        if isinstance(headers, Finding):
            return PairSummary(headers)
        problem = header_problem(sample, headers, data.labels, data.reading)
        found = problem or read_pair(sample, data.labels, data.reading)
        return (
            PairSummary(found)
            if isinstance(found, Finding | UnknownValues)
            else _summary(*found)._replace(headers=headers)
        )


def _summary(image: Tensor, mask: Tensor | None) -> PairSummary:
    pixel_hash = hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).hexdigest()
    pixels = None if mask is None else np.bincount(mask.numpy().ravel(), minlength=256)
    return PairSummary(None, (image.shape[2], image.shape[1]), f"{pixel_hash}/{tuple(image.shape)}", pixels)


def summarize_pairs(dataset: SegmentationDataset) -> Iterator[PairSummary]:
    """Yield the summary of every sample in order, read by one process per core."""
    parallel = len(dataset) > 32
    return iter(
        DataLoader(
            PairSummaries(dataset),
            batch_size=None,
            num_workers=cores() if parallel else 0,
            collate_fn=identity_collate,  # type: ignore[arg-type]  # without batches it takes one item
            prefetch_factor=16 if parallel else None,  # so that no worker waits for another one's large image
        )
    )
