"""A metric: counted on each process, added up over all."""

import torch
from torch import Tensor
from torchmetrics import Metric


class LeafShare(Metric):
    """Share of the pixels that are predicted as leaf."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("leaf", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("pixels", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        counted = labels != 255
        self.leaf += (prediction[counted] == 1).sum()
        self.pixels += counted.sum()

    def compute(self) -> Tensor:
        return self.leaf / self.pixels
