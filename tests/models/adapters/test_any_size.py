"""Nets of other libraries take images of any size."""

import pytest
import torch
from torch import nn

from segment.errors import SegmentError
from segment.models.adapters.any_size import AnySize


class Picky(nn.Module):
    """A net that needs sides of ``multiple``, from ``minimum`` on; it has a parameter without effect."""

    def __init__(self, multiple: int, minimum: int = 1, square: bool = False, cells: int | None = None) -> None:
        super().__init__()
        self.multiple, self.minimum, self.square, self.cells = multiple, minimum, square, cells
        self.score, self.unused = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, image):
        height, width = image.shape[-2:]
        assert height % self.multiple == width % self.multiple == 0, "not a multiple"
        assert min(height, width) >= self.minimum, "too small"
        assert not self.square or height == width, "not square"
        scores = self.score(image)[..., ::4, ::4]
        return scores[..., : self.cells] if self.cells else scores


@pytest.mark.parametrize(
    ("net", "rule"),
    [(Picky(8), (8, 8, 4)), (Picky(16), (16, 16, 4)), (Picky(8, 100), (8, 128, 4)), (Picky(4), (8, 8, 4))],
)
def test_multiple_and_minimum_are_found_by_a_probe(net, rule):
    any_size = AnySize(net, 8, "picky")
    assert any_size.rule == rule
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["score.weight", "score.bias"]
    image = torch.randn(1, 3, 33, 5)
    side = max(rule[1], -(-33 // rule[0]) * rule[0])
    padded = torch.zeros(1, 3, side, rule[1])
    padded[..., :33, :5] = image
    expected = nn.functional.interpolate(net(padded), scale_factor=4, mode="bilinear")[..., :33, :5]
    torch.testing.assert_close(any_size(image), expected)


@pytest.mark.parametrize("options", [{"square": True}, {"multiple": 24}, {"minimum": 2000}, {"cells": 2}])
def test_nets_of_a_fixed_size_are_refused_by_name(options):
    message = r"^picky fails at all sizes of images that were tried: .+; a net for one size"
    with pytest.raises(SegmentError, match=message):
        AnySize(Picky(**{"multiple": 8, **options}), 8, "picky")
