"""Overlap losses against loops over the papers' formulas, MONAI and segmentation_models.pytorch."""

import pytest
import torch

from segment.errors import SegmentError
from segment.training.overlap_losses import DiceLoss, LovaszLoss, TverskyLoss

LOSSES = [DiceLoss(), TverskyLoss(0.3, 0.7), TverskyLoss(1.0, 0.0), LovaszLoss()]


@pytest.fixture
def case():
    """Return scores and labels of three images: one without class 2, one with void, one of void alone."""
    torch.manual_seed(0)
    mask = torch.randint(0, 4, (3, 9, 7))
    mask[0][mask[0] == 2] = 3
    mask[1, :3] = 255
    mask[2] = 255
    return 3 * torch.randn(3, 4, 9, 7, dtype=torch.float64), mask


def pixels_of(scores, mask):
    """Yield the probabilities (pixels, C) and the labels of the pixels of each image that are not void, as lists."""
    for p, labels in zip(scores.softmax(1).flatten(2).transpose(1, 2), mask.flatten(1), strict=True):
        keep = labels != 255
        yield p[keep].tolist(), labels[keep].tolist()


def mean(values):
    return sum(values) / len(values) if values else 0.0


def tversky_by_hand(p, labels, alpha, beta):
    """Salehi et al., equation 4, for each class that occurs."""
    losses = []
    for c in {*labels}:
        both = sum(one[c] for one, label in zip(p, labels, strict=True) if label == c)
        given = sum(one[c] for one, label in zip(p, labels, strict=True) if label != c)
        missed = sum(1 - one[c] for one, label in zip(p, labels, strict=True) if label == c)
        losses.append(1 - both / (both + alpha * given + beta * missed))
    return mean(losses)


def lovasz_by_hand(p, labels):
    """Berman et al., equations 8, 9 and 13: errors in decreasing order, times the growth of the Jaccard loss."""
    losses = []
    for c in {*labels}:
        errors = [1 - one[c] if label == c else one[c] for one, label in zip(p, labels, strict=True)]
        truth, wrong, before, loss = {i for i, label in enumerate(labels) if label == c}, set(), 0.0, 0.0
        for i in sorted(range(len(errors)), key=lambda i: -errors[i]):
            wrong.add(i)
            now = len(wrong) / len(truth | wrong)  # equation 6 of mispredicted pixels
            loss, before = loss + errors[i] * (now - before), now
        losses.append(loss)
    return mean(losses)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7), (1.0, 0.0), (0.0, 2.0)])
def test_tversky_is_the_papers(case, alpha, beta):
    expected = mean([tversky_by_hand(p, labels, alpha, beta) for p, labels in pixels_of(*case)])
    assert TverskyLoss(alpha, beta)(*case).item() == pytest.approx(expected, abs=1e-6)


def test_dice_is_the_papers(case):
    expected = mean([tversky_by_hand(p, labels, 0.5, 0.5) for p, labels in pixels_of(*case)])
    assert DiceLoss()(*case).item() == pytest.approx(expected, abs=1e-6)


def test_lovasz_is_the_papers(case):
    expected = mean([lovasz_by_hand(p, labels) for p, labels in pixels_of(*case)])
    assert LovaszLoss()(*case).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow  # the import takes seconds
@pytest.mark.parametrize("image", [0, 1])
def test_each_image_is_monais(case, image):
    monai = pytest.importorskip("monai.losses")
    scores, mask = (part[image : image + 1] for part in case)
    present = mask[mask != 255].unique()
    options = {"softmax": True, "to_onehot_y": True, "smooth_nr": 0, "smooth_dr": 0, "reduction": "none"}
    for own, other in (
        (DiceLoss(), monai.DiceLoss(**options, ignore_index=255)),
        (TverskyLoss(0.2, 0.9), monai.TverskyLoss(**options, ignore_index=255, alpha=0.2, beta=0.9)),
    ):
        expected = other(scores, mask[:, None]).flatten()[present].mean()
        assert own(scores, mask).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.slow  # the import takes seconds
@pytest.mark.parametrize("image", [0, 1])
def test_each_image_is_smps(case, image):
    smp = pytest.importorskip("segmentation_models_pytorch")
    scores, mask = (part[image : image + 1] for part in case)
    expected = smp.losses.LovaszLoss("multiclass", per_image=True, ignore_index=255)(scores.float(), mask)
    assert LovaszLoss()(scores, mask).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_images_count_alike_in_any_batch(case, loss):
    """The mean over batches of one size is the mean over all images: processes and accumulation change nothing."""
    scores, mask = case
    alone = [loss(scores[i : i + 1], mask[i : i + 1]).item() for i in range(3)]
    assert loss(scores, mask).item() == pytest.approx(mean(alone), abs=1e-6)
    assert alone[2] == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_right_and_0_at_ignored_pixels(case, loss):
    scores, mask = case[0][:2].requires_grad_(), case[1][:2]
    loss(scores, mask).backward()
    assert scores.grad[(mask == 255)[:, None].expand_as(scores)].abs().max() == 0
    assert scores.grad.abs().max() > 0
    step = 1e-3 * torch.randn_like(scores)
    with torch.no_grad():
        change = loss(scores + step, mask) - loss(scores - step, mask)
    assert change.item() == pytest.approx(2 * (scores.grad * step).sum().item(), rel=1e-3)


@pytest.mark.parametrize("options", [{"alpha": -1}, {"beta": float("nan")}, {"alpha": 0, "beta": 0}])
def test_weights_out_of_range_are_refused(options):
    with pytest.raises(SegmentError, match=r"^loss.alpha=.*: expected numbers from 0, not both 0$"):
        TverskyLoss(**options)
