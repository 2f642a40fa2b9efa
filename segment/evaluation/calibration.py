"""Calibration: the confidence of a net beside the share of its pixels that are right."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from segment.data.classes import IGNORE

BINS = 15
"""Number of bins of equal length."""
UNIT = 24
"""Confidences are added up in integer steps of 2 to the power of -UNIT, as fine as numbers of 32 bits near 1."""


class CalibrationScores(Metric):
    """Expected calibration error and reliability diagram (Guo et al., 2017) over all counted pixels of a split.

    A pixel's confidence is the probability of the class that it is given. Pixels are sorted into 15 bins of equal
    length by it. The error is the mean difference between confidence and accuracy of the bins, weighted by their
    pixels. All sums are integers, so that the metrics are the same on one and on many processes.

    Example:
        >>> scores = CalibrationScores()
        >>> scores.update(torch.tensor([[[1, 1]]]), torch.tensor([[[1, 0]]]), torch.tensor([[[0.75, 0.75]]]))
        >>> scores.compute()["expected_calibration_error"]
        0.25
    """

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(3, BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, confidence: Tensor) -> None:
        """Count predicted classes, labels and confidences in 0..1, all (N,H,W); 255 in ``target`` is ignored."""
        counted = target != IGNORE
        right = (preds[counted] == target[counted]).long()
        steps = (confidence[counted] * 2**UNIT).round().long()  # a power of two loses no digit of 32 bits
        bins = (steps * BINS >> UNIT).clamp(max=BINS - 1)
        for row, values in enumerate((torch.ones_like(steps), right, steps)):
            self.sums[row].index_add_(0, bins, values)

    def compute(self) -> dict[str, Any]:
        """Compute the metrics.

        Returns:
            ``expected_calibration_error`` in 0..1, None without a counted pixel; and ``bins``, a list with the number
            of ``pixels``, the mean ``confidence`` and the ``accuracy`` of each bin, None for an empty one.
        """
        pixels, right, steps = self.sums.cpu().tolist()
        bins = [
            {"pixels": n, "confidence": c / n / 2**UNIT if n else None, "accuracy": r / n if n else None}
            for n, r, c in zip(pixels, right, steps, strict=True)
        ]
        difference = sum(abs(r - c / 2**UNIT) for r, c in zip(right, steps, strict=True))
        return {"expected_calibration_error": difference / sum(pixels) if any(pixels) else None, "bins": bins}
