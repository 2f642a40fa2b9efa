"""Cross-entropy against torch's own mean, and in the cases where that is NaN."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.training.losses import BorderWeightedCrossEntropy, CrossEntropy, border_weights


@pytest.fixture
def case():
    torch.manual_seed(0)
    mask = torch.randint(0, 4, (2, 9, 7))
    mask[0, :3] = 255
    return torch.randn(2, 4, 9, 7, requires_grad=True), mask


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mean_is_torchs(case, weights, smoothing):
    scores, mask = case
    tensor = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(scores, mask, tensor, ignore_index=255, label_smoothing=smoothing)
    found = CrossEntropy("mean", weights, smoothing)(scores, mask)
    torch.testing.assert_close(found, expected)


def test_weights_in_16_bits(case):
    """With trainer.precision=bf16-true, Lightning casts the class weights, while the scores stay float32 here."""
    scores, mask = case
    found = CrossEntropy("mean", [1.0, 2.0, 0.5, 3.0]).bfloat16()(scores, mask)
    torch.testing.assert_close(found, CrossEntropy("mean", [1.0, 2.0, 0.5, 3.0])(scores, mask))


def test_sum_counts_every_labelled_pixel(case):
    scores, mask = case
    chosen = F.log_softmax(scores, 1).gather(1, mask.clamp(max=3)[:, None])[:, 0]
    torch.testing.assert_close(CrossEntropy("sum")(scores, mask), -chosen[mask != 255].sum())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, [1.0] * 4])
def test_all_ignored_is_zero_with_zero_gradient(case, reduction, weights):
    scores, mask = case
    loss = CrossEntropy(reduction, weights)(scores, torch.full_like(mask, 255))
    loss.backward()
    assert float(loss) == 0
    assert float(scores.grad.abs().sum()) == 0


def test_wrong_arguments_are_named(case):
    with pytest.raises(SegmentError, match="expected mean or sum"):
        CrossEntropy("average")
    with pytest.raises(SegmentError, match=r"^loss.class_weights=\[\]: expected numbers from 0, not all 0$"):
        CrossEntropy(class_weights=[])
    with pytest.raises(SegmentError, match="3 values for 4 classes"):
        CrossEntropy(class_weights=[1, 1, 1])(*case)


def test_border_weights_are_equation_2():
    """By hand: two objects with a gap of 4 pixels; in the gap d1 + d2 is 5, at its edge too, far away it fades."""
    mask = np.zeros((9, 40), np.uint8)
    mask[:, 10:14], mask[:, 18:22] = 1, 1
    weights = border_weights(mask, strength=10, width=5)
    assert np.allclose(weights[:, 14:18], 10 * np.exp(-(5**2) / 50))
    assert np.allclose(weights[:, 9], 10 * np.exp(-((1 + 9) ** 2) / 50))
    assert not weights[mask > 0].any()
    assert not border_weights((mask == 0).astype(np.uint8)[:, :10]).any()  # one object has no border


def test_border_weighted_loss_is_the_weighted_mean():
    torch.manual_seed(0)
    mask = torch.zeros(1, 9, 40, dtype=torch.int64)
    mask[:, :, 10:14], mask[:, :, 18:22], mask[:, :2] = 1, 1, 255
    scores = torch.randn(1, 2, 9, 40)
    each = -scores.log_softmax(1).gather(1, mask.clamp(max=1)[:, None])[:, 0]
    weights = 1 + torch.from_numpy(border_weights(mask[0].numpy()))[None]
    valid = mask != 255
    expected = (each * weights)[valid].sum() / weights[valid].sum()
    assert torch.allclose(BorderWeightedCrossEntropy()(scores, mask), expected)
    assert BorderWeightedCrossEntropy()(scores, torch.full_like(mask, 255)) == 0


@pytest.mark.parametrize("loss", [CrossEntropy, BorderWeightedCrossEntropy])
@pytest.mark.parametrize("weights", [[1, 2], [1, 2, 3, 4]])
def test_another_number_of_class_weights_is_refused(loss, weights):
    with pytest.raises(SegmentError, match=rf"loss.class_weights has {len(weights)} values for 3 classes"):
        loss(class_weights=weights)(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))


@pytest.mark.parametrize("options", [{"strength": -100}, {"width": 0}])
def test_border_weights_out_of_range_are_refused(options):
    with pytest.raises(SegmentError, match=r"expected a strength from 0 and a width above 0"):
        BorderWeightedCrossEntropy(**options)
