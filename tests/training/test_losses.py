"""Cross-entropy and its relatives against torch and loops over the papers' formulas, and where torch's mean is NaN."""

import math
import socket

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segment.errors import SegmentError
from segment.training.losses import (
    BorderWeightedCrossEntropy,
    CrossEntropy,
    FocalLoss,
    OhemCrossEntropy,
    border_weights,
)
from segment.training.overlap_losses import DiceLoss, LovaszLoss, TverskyLoss

WEIGHTS = [1.0, 2.0, 0.5, 3.0]
ALL = [
    CrossEntropy(), CrossEntropy(class_weights=WEIGHTS), BorderWeightedCrossEntropy(), FocalLoss(), FocalLoss(0.5),
    OhemCrossEntropy(), OhemCrossEntropy(0.0, 0.3, WEIGHTS), DiceLoss(), TverskyLoss(), LovaszLoss(),
]  # fmt: skip


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


@pytest.mark.parametrize("kind", [CrossEntropy, FocalLoss])
def test_pixels_of_weight_0_alone_have_a_zero_gradient(case, kind):
    scores, mask = case
    loss = kind(class_weights=[1, 0, 1, 1])(scores, torch.ones_like(mask))
    (2.0**16 * loss).backward()  # scaled up, as by precision=16-mixed
    assert float(scores.grad.abs().sum()) == 0


def each_pixel(scores, mask):
    """Yield the softmax probability of the label of each pixel that is not ignored, and the label."""
    for i, y, x in zip(*(mask != 255).nonzero(as_tuple=True), strict=True):
        label = int(mask[i, y, x])
        exponentials = [math.exp(one) for one in scores[i, :, y, x].tolist()]
        yield exponentials[label] / sum(exponentials), label


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_equation_5(case, gamma, weights):
    alpha = weights or [1.0] * 4
    pixels = [(-alpha[label] * (1 - p) ** gamma * math.log(p), alpha[label]) for p, label in each_pixel(*case)]
    expected = sum(loss for loss, _ in pixels) / sum(weight for _, weight in pixels)
    assert FocalLoss(gamma, weights)(*case).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("threshold", "min_share"), [(0.7, 0.0), (0.05, 0.3), (0.0, 1.0), (0.0, 0.001), (0.2, 0.1)])
def test_ohem_is_the_mean_over_hard_pixels(case, threshold, min_share):
    pixels = sorted(p for p, _ in each_pixel(*case))
    kept = [p for i, p in enumerate(pixels) if p < threshold or i < math.ceil(min_share * len(pixels))]
    expected = -sum(map(math.log, kept)) / len(kept)
    assert OhemCrossEntropy(threshold, min_share)(*case).item() == pytest.approx(expected, abs=1e-6)


def test_ohem_may_find_no_hard_pixel(case):
    assert OhemCrossEntropy(1e-30, 0.0)(*case).item() == 0


@pytest.mark.parametrize("loss", ALL)
def test_bf16_and_void(case, loss):
    """Scores of 16 bits give the loss of their values in 32 bits; a batch and an image of void alone change nothing."""
    scores, mask = case[0].detach().bfloat16().requires_grad_(), case[1]
    value = loss(scores, mask)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(scores.float(), mask))
    mask[1] = 255
    for part in (mask, torch.full_like(mask, 255)):
        scores.grad = None
        loss(scores, part).backward()
        assert scores.grad.isfinite().all()
        assert scores.grad[(part == 255)[:, None].expand_as(scores)].abs().max() == 0
    assert loss(scores, torch.full_like(mask, 255)).item() == 0


@pytest.mark.parametrize("loss", ALL)
def test_pixels_that_are_certain_have_finite_gradients(loss):
    scores = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1).repeat(1, 1, 2, 2).requires_grad_()
    loss.__class__()(scores, torch.tensor([[[0, 1], [255, 0]]])).backward()
    assert scores.grad.isfinite().all()


def gradient(loss, scores, mask):
    scores = scores.detach().clone().requires_grad_()
    loss(scores, mask).backward()
    return scores.grad


OF_TWO = [
    CrossEntropy(class_weights=WEIGHTS, normalize="global"), CrossEntropy("sum"), DiceLoss(), LovaszLoss(),
    CrossEntropy(),
]  # fmt: skip


def process(rank, port, scores, mask, results):
    """Be one of two processes, with one image each."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    for loss, result in zip(OF_TWO, results, strict=True):
        result[rank] = gradient(loss, scores[rank : rank + 1], mask[rank : rank + 1])[0]
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # the processes import torch
def test_two_processes(case):
    """Averaged gradients are those of one process with both images, except for cross-entropy's mean of each process."""
    scores, mask = case[0].detach(), case[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = torch.zeros(len(OF_TWO), *scores.shape).share_memory_()
    torch.multiprocessing.spawn(process, (port, scores, mask, results), nprocs=2)
    factors = [0.5, 1, 0.5, 0.5, 0.5]  # DDP averages gradients, which the module makes up for in a sum
    same = [
        torch.allclose(factor * result, gradient(loss, scores, mask), atol=1e-7)
        for loss, factor, result in zip(OF_TWO, factors, results, strict=True)
    ]
    assert same == [True, True, True, True, False]


def test_pixels_of_all_processes(case, monkeypatch):
    """The other process has no pixel, so that each one divides by half of this one's."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: None)
    for loss in (CrossEntropy, FocalLoss, OhemCrossEntropy):
        torch.testing.assert_close(loss(normalize="global")(*case), 2 * loss()(*case))


def test_wrong_arguments_are_named(case):
    with pytest.raises(SegmentError, match=r"^loss.normalize=all: expected process, or global with loss.reduction=me"):
        CrossEntropy(normalize="all")
    with pytest.raises(SegmentError, match=r"^loss.class_weights=auto: only segment.train counts pixels"):
        FocalLoss(class_weights="auto")
    with pytest.raises(SegmentError, match=r"^loss.gamma=-1: expected a number from 0$"):
        FocalLoss(-1)
    with pytest.raises(SegmentError, match=r"loss.min_share=2: expected numbers from 0 to 1, not both 0$"):
        OhemCrossEntropy(min_share=2)
    with pytest.raises(SegmentError, match=r"^loss.threshold=0 loss.min_share=0: expected"):
        OhemCrossEntropy(0.0, 0.0)
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
