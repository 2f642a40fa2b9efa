"""Samplers: the order of the images and their distribution over processes."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One request of a sampler to the data set.

    Args:
        sample: index of the sample.
        epoch: epoch of training, which the augmentation depends on.
        padding: True if the sample only fills up the share of a rank; its mask becomes void.
        repetition: number of earlier draws of this sample in the epoch.
    """

    sample: int
    epoch: int = 0
    padding: bool = False
    repetition: int = 0


class TrainSampler(Sampler[Draw]):
    """One rank's share of a shuffled epoch, in whole batches.

    The order depends on seed and epoch alone. Samples that do not fill a batch on every rank are left out of the
    epoch; a data set that is smaller than one batch per rank is repeated.

    Args:
        length: number of samples of the data set.
        batch_size: batch size per rank.
        start: first epoch, and the number of its batches to skip: a resumed run has trained on those.

    Example:
        >>> sampler = TrainSampler(10, batch_size=4, seed=0)
        >>> len(list(sampler))
        8
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.per_rank = max(1, length // (batch_size * world_size)) * batch_size
        self.epoch, batches = start
        self.skipped = {self.epoch: batches * batch_size}

    def __len__(self) -> int:
        return self.per_rank

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        positions = range(self.rank, self.per_rank * self.world_size, self.world_size)
        for position in positions[self.skipped.get(self.epoch, 0) :]:
            yield Draw(order[position % self.length], self.epoch, repetition=position // self.length)


class EvalSampler(Sampler[Draw]):
    """One rank's share of a data set in order, of equal length on every rank.

    Ranks of unequal length would wait for each other forever, and Lightning's own sampler repeats images, which then
    count twice. Here the repeated samples are marked as padding, and the data set makes their masks void.

    Example:
        >>> [draw.padding for draw in EvalSampler(3, rank=1, world_size=2)]
        [False, True]
    """

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.rank, self.world_size = length, rank, world_size

    def __len__(self) -> int:
        return math.ceil(self.length / self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(position % self.length, padding=position >= self.length)


def in_order(rows: np.ndarray, world_size: int, length: int) -> np.ndarray:
    """Return results of :class:`EvalSampler` draws in the order of the images.

    Args:
        rows: one row (K, ...) for each draw, those of rank 0 first, then those of rank 1, ...
        length: number of images N; rows of padding are left out.

    Returns:
        Rows (N, ...).
    """
    by_rank = rows.reshape(world_size, -1, *rows.shape[1:])
    return by_rank.swapaxes(0, 1).reshape(rows.shape)[:length]
