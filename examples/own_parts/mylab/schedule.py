"""A schedule: a function of the optimiser and, if it asks for it, of the number of steps."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def halving(optimizer: Optimizer, total_steps: int, times: int = 3) -> LambdaLR:
    """Halve the learning rate several times over a run."""
    return LambdaLR(optimizer, lambda step: 0.5 ** (step * (times + 1) // total_steps))
