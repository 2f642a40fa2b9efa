"""A loss: one number from scores and labels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DiceLoss(nn.Module):
    """One minus the mean Dice coefficient of the classes."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        counted = (labels != 255)[:, None]
        found = scores.softmax(1) * counted
        truth = F.one_hot(labels.where(labels != 255, 0), scores.shape[1]).movedim(-1, 1) * counted
        both = torch.sum(found * truth, dim=(0, 2, 3))
        all_of_them = torch.sum(found + truth, dim=(0, 2, 3))
        return 1 - ((2 * both + self.smooth) / (all_of_them + self.smooth)).mean()
