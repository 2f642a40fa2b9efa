"""The check that the losses of a training are numbers, which seldom waits for a GPU."""

import math

import torch
from torch import Tensor

from segment.errors import SegmentError

READ_EVERY = 8
"""Steps between two reads of a GPU, each of which waits until it is idle."""


class DivergedError(SegmentError):
    """The loss is infinite or not a number."""


def steps_between_reads(device: torch.device) -> int:
    """Return after how many steps the host may wait for a device; a CPU is never behind."""
    return 1 if device.type == "cpu" else READ_EVERY


class RecentLosses:
    """Losses since the last check, which are read from the device together.

    Attributes:
        learned: whether a loss was not 0.

    Example:
        >>> losses = RecentLosses()
        >>> losses.add(torch.tensor(0.5), step=0, epoch=0, ids=["a"])
        >>> losses.check()
        >>> losses.learned
        True
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, int, int, list[str]]] = []
        self.learned = False

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, loss: Tensor, step: int, epoch: int, ids: list[str]) -> None:
        """Keep the loss of a batch, a number on the device, with what an error says of it."""
        self._steps.append((loss.detach(), step, epoch, ids))

    def check(self) -> None:
        """Check the losses that were added, and forget them.

        Raises:
            DivergedError: one is no finite number; the message names the first.
        """
        steps, self._steps = self._steps, []
        values = torch.stack([loss for loss, *_ in steps]).tolist() if steps else []
        for value, (_, step, epoch, ids) in zip(values, steps, strict=True):
            self.learned = self.learned or value != 0
            if not math.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} at step {step} (epoch {epoch}, images {', '.join(ids[:4])}"
                    f"{', ...' if len(ids) > 4 else ''}): "
                    "lower optimizer.lr, set trainer.gradient_clip_val=1 or use trainer.precision=32"
                )
