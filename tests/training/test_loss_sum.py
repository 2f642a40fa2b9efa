"""The sum of losses."""

import pytest
import torch

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.training.loss_sum import LossSum
from segment.training.losses import CrossEntropy, FocalLoss
from segment.training.overlap_losses import DiceLoss

PARTS = {"ce": CrossEntropy(), "dice": DiceLoss(), "focal": FocalLoss()}


def test_terms_are_weighted():
    scores, mask = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    ce, dice = (PARTS[name](scores, mask) for name in ("ce", "dice"))
    torch.testing.assert_close(LossSum(PARTS, ["ce", "dice"], [2, 0.5])(scores, mask), 2 * ce + 0.5 * dice)
    torch.testing.assert_close(LossSum(PARTS, ["dice"])(scores, mask), dice)


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        (["ce", "dise"], None, r"^loss.terms has 'dise', expected ce, dice, focal: did you mean dice\?$"),
        (["ce", "dice"], [1], r"^loss.weights=\[1\]: expected a number from 0 for each of the 2 terms, not all 0$"),
        (["ce"], [float("nan")], "expected a number from 0"),
        (["ce", "dice"], [0, 0], "not all 0"),
        ([], None, r"^loss.terms=\[\]: expected names of losses, such as ce, dice, focal$"),
    ],
)
def test_terms_and_weights_have_to_fit(terms, weights, message):
    with pytest.raises(SegmentError, match=message):
        LossSum(PARTS, terms, weights)


def test_a_sum_over_pixels_is_no_term():
    with pytest.raises(SegmentError, match=r"^loss.terms: reduction=sum is for a loss of its own"):
        LossSum({"ce": CrossEntropy("sum")}, ["ce"])


def test_terms_are_options_of_the_group_with_their_own_keys():
    overrides = ("loss=sum", "loss.terms=[focal,mine]", "loss.parts.focal.gamma=0", "loss.weights=[1,2]")
    own = "+loss.parts.mine={_target_: torch.nn.CrossEntropyLoss, ignore_index: 255}"
    scores, mask = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    mask[0] = 255
    loss = instantiate(load_config([*overrides, own]).loss)
    torch.testing.assert_close(loss(scores, mask), 3 * CrossEntropy()(scores, mask))
