"""Which image comes when, on which process; and what a draw is."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """What a sampler asks for: which sample, in which epoch, whether it only fills up a rank's share, and which of the
    sample's repetitions within the epoch it is."""

    sample: int
    epoch: int = 0
    filler: bool = False
    repetition: int = 0


class TrainSampler(Sampler[Draw]):
    """A rank's share of a shuffled epoch, in whole batches.

    The order is a function of seed and epoch alone. What does not fill a batch on every rank is left out
    of the epoch; a data set smaller than that is repeated until it does.

    Args:
        start: epoch that comes first, and how many of its batches are left out: a run that goes on had those.
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
        self.left_out = {self.epoch: batches * batch_size}

    def __len__(self) -> int:
        return self.per_rank

    def set_epoch(self, epoch: int) -> None:  # Lightning calls it
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        positions = range(self.rank, self.per_rank * self.world_size, self.world_size)
        for position in positions[self.left_out.get(self.epoch, 0) :]:
            yield Draw(order[position % self.length], self.epoch, repetition=position // self.length)


class EvalSampler(Sampler[Draw]):
    """A rank's share of a data set in order, equally long on every rank.

    Ranks of unequal length would wait for each other for ever; Lightning's own sampler repeats images,
    which count twice. Here what fills up is marked, and its mask is void.
    """

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.rank, self.world_size = length, rank, world_size

    def __len__(self) -> int:
        return math.ceil(self.length / self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(position % self.length, filler=position >= self.length)


def in_order(rows: np.ndarray, world_size: int, length: int) -> np.ndarray:
    """What :class:`EvalSampler`s drew, rank after rank: rows (K, ...) of all draws as (N, ...) in the images' order."""
    by_rank = rows.reshape(world_size, -1, *rows.shape[1:])
    return by_rank.swapaxes(0, 1).reshape(rows.shape)[:length]
