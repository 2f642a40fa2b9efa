"""Lines that a command prints once, however many processes it has."""

import os

from torch import distributed

RANK_KEYS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables by which a launcher numbers its processes, in the order in which Lightning reads them."""


def print_once(line: str) -> None:
    """Print a line in the first process only.

    Lightning's ``rank_zero_only`` does the same; to import it takes as long as to import torch.
    """
    if distributed.is_available() and distributed.is_initialized():
        rank = distributed.get_rank()
    else:
        rank = int(next((os.environ[key] for key in RANK_KEYS if key in os.environ), "0"))
    if rank == 0:
        print(line)
