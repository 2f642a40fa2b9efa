"""The weighted sum of several losses."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segment.cli.suggestions import close_name
from segment.errors import SegmentError


class LossSum(nn.Module):
    """Weighted sum of losses.

    Args:
        parts: losses by name.
        terms: names of the parts that are added up.
        weights: one number from 0 for each term, not all 0; None for equal weights of 1.

    Raises:
        SegmentError: a name is unknown, there is no term, a weight is missing or out of range, or a term is a sum over
            pixels, which trains at other learning rates than a mean.

    Example:
        >>> from segment.training import CrossEntropy, DiceLoss
        >>> loss = LossSum({"ce": CrossEntropy(), "dice": DiceLoss()}, ["ce", "dice"], [1.0, 0.5])
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        terms: Sequence[str],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.weights = [1.0] * len(terms) if weights is None else [*weights]
        if not isinstance(parts, Mapping):
            raise SegmentError("loss.parts: expected a table of losses by name")
        if not terms:
            raise SegmentError(f"loss.terms=[]: expected names of losses, such as {', '.join(parts)}")
        numbers = all(0 <= one < math.inf for one in self.weights) and any(self.weights)
        if len(self.weights) != len(terms) or not numbers:
            raise SegmentError(
                f"loss.weights={self.weights}: expected a number from 0 for each of the {len(terms)} terms, not all 0"
            )
        self.terms = nn.ModuleList([_find(parts, term) for term in terms])
        if any(getattr(term, "reduction", "mean") == "sum" for term in self.terms):
            raise SegmentError("loss.terms: reduction=sum is for a loss of its own: leave it out, and set loss.weights")

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of scores (N,C,H,W) and labels int64 (N,H,W), where 255 is ignored."""
        losses = [weight * term(scores, mask) for weight, term in zip(self.weights, self.terms, strict=True)]
        return sum(losses[1:], losses[0])


def _find(parts: Mapping[str, nn.Module], name: str) -> nn.Module:
    if name in parts:
        return parts[name]
    close = close_name(name, sorted(parts))
    raise SegmentError(
        f"loss.terms has {name!r}, expected {', '.join(parts)}" + f": did you mean {close}?" * bool(close)
    )
