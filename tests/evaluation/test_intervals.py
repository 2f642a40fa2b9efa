"""The interval of mIoU equals an explicit jackknife: a loop that leaves out one image at a time, and scipy's t."""

import numpy as np
import pytest
from scipy import stats

from segment.evaluation.intervals import FEW_IMAGES, iou, mean_iou, miou_interval
from tests.evaluation.counting import counts_by_hand


def miou_by_hand(counts) -> float:
    """Return the mIoU of images (N,3,C), class by class."""
    values = []
    for hits, truth, predicted in np.sum(counts, 0).T:
        if truth + predicted - hits:
            values.append(hits / (truth + predicted - hits))
    return sum(values) / len(values)


def jackknife_by_hand(first, second=()) -> tuple[float, float]:
    """Return the ends of the interval by the delete-one jackknife (Efron and Tibshirani, 1993, chapter 11)."""

    def value(chosen) -> float:
        means = [np.mean([miou_by_hand(run[chosen]) for run in runs]) if runs else 0 for runs in (first, second)]
        return means[0] - means[1]

    images = list(range(len(first[0])))
    n = len(images)
    left_out = [value([i for i in images if i != one]) for one in images]
    centre = sum(left_out) / n
    error = ((n - 1) / n * sum((one - centre) ** 2 for one in left_out)) ** 0.5
    return stats.t.interval(0.95, n - 1, loc=value(images), scale=error)


def random_counts(seed: int, images: int = 12, classes: int = 4) -> np.ndarray:
    """Return correct, true and predicted pixels (N,3,C); the last class occurs in three images."""
    rng = np.random.default_rng(seed)
    hits = rng.integers(50, 100, (images, classes))
    truth, predicted = hits + rng.integers(1, 40, (2, images, classes))
    counts = np.stack([hits, truth, predicted], 1)
    counts[3:, :, -1] = 0
    return counts


def test_the_interval_of_one_run():
    counts = random_counts(0)
    found = miou_interval([counts])
    assert found.value == pytest.approx(miou_by_hand(counts), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(jackknife_by_hand([counts]), rel=1e-12)
    assert (found.images, found.groups, found.rare_classes, found.note) == (12, 12, 1, "")
    assert found.describe() == (
        "the interval is over the choice of 12 images, not of training seeds, and covers the population's mean IoU "
        "over the classes that occur in them; 1 class occurs in fewer than five of the images, in truth or "
        "prediction, which may make the interval too short"
    )


def test_the_interval_of_the_mean_over_seeds_and_of_a_difference_on_the_same_images():
    first, second = [random_counts(1), random_counts(2)], [random_counts(3)]
    found = miou_interval(first)
    assert (found.low, found.high) == pytest.approx(jackknife_by_hand(first), rel=1e-12)
    found = miou_interval(first, second)
    assert (found.low, found.high) == pytest.approx(jackknife_by_hand(first, second), rel=1e-12)
    assert found.value == pytest.approx(
        np.mean([miou_by_hand(run) for run in first]) - miou_by_hand(second[0]), rel=1e-12
    )


def test_groups_of_images_are_left_out_together():
    """Each leave-one-out value is that of the images of all other groups."""
    counts, other = random_counts(4, 40), random_counts(5, 40)
    groups = np.random.default_rng(0).choice([f"video {k}" for k in range(11)], 40)
    for first, second in (([counts], []), ([counts, other], []), ([counts], [other])):
        found = miou_interval(first, second, groups)

        def value(chosen, first=first, second=second):
            means = [np.mean([miou_by_hand(run[chosen]) for run in runs]) if runs else 0 for runs in (first, second)]
            return means[0] - means[1]

        left_out = [value(groups != one) for one in sorted({*groups})]
        centre = sum(left_out) / 11
        error = (10 / 11 * sum((one - centre) ** 2 for one in left_out)) ** 0.5
        expected = stats.t.interval(0.95, 10, loc=value(groups == groups), scale=error)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)
        assert (found.images, found.groups, found.note) == (40, 11, "")
        assert "over the choice of 40 images in 11 groups, not of" in found.describe()


def test_a_group_for_each_image_changes_nothing():
    counts = random_counts(0)
    names = np.array([f"{k:02d}" for k in range(12)])
    found, expected = miou_interval([counts], groups=names), miou_interval([counts])
    assert found == expected


def test_few_groups_are_noted_and_one_gives_no_interval():
    counts = random_counts(0)
    found = miou_interval([counts], groups=np.arange(12) % 9)
    assert found.note == "the interval is uncertain: 9 groups are fewer than 10"
    assert miou_interval([random_counts(0, 20)], groups=np.arange(20) // 2).note == ""
    counts[:, :, :] = counts[:1]
    assert miou_interval([counts], groups=np.arange(12) % 4).note == (
        "the interval is a point: leaving out any of the groups gives the same value"
    )
    counts[6:] = 0
    alone = miou_interval([counts], groups=np.arange(12) // 6)
    assert np.isnan(alone.low)
    assert alone.note == "no interval: it needs two groups with a counted pixel, got 1"


def test_an_image_without_a_counted_pixel_is_no_image():
    counts = counts_by_hand()  # all pixels of the last image are ignored
    found = miou_interval([counts])
    assert found.images == 4
    assert found == miou_interval([counts[:-1]])
    low, high = jackknife_by_hand([counts[:-1]])
    assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), rel=1e-12)


def test_the_interval_stays_within_the_possible_range():
    perfect, wrong = np.array([[[9], [9], [9]]] * 2), np.array([[[0], [9], [9]]] * 2)
    for counts in (np.concatenate([perfect, wrong]), np.concatenate([wrong, perfect])):
        found = miou_interval([counts])
        assert 0 <= found.low < found.value < found.high <= 1
        difference = miou_interval([counts], [counts[::-1]])
        assert -1 <= difference.low <= difference.value <= difference.high <= 1


def test_equal_images_give_a_point():
    counts = np.repeat(random_counts(0)[:1], 4, 0)
    found = miou_interval([counts])
    assert found.low == found.high == found.value == pytest.approx(float(mean_iou(counts[0])))
    assert found.note == "the interval is a point: leaving out any of the images gives the same value"


@pytest.mark.parametrize("images", [0, 1])
def test_fewer_than_two_images_give_no_interval(images):
    counts = np.concatenate([random_counts(0)[:images], np.zeros((2, 3, 4), int)])
    found = miou_interval([counts])
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(found.value) == (images == 0)
    assert found.note == f"no interval: it needs two images with a counted pixel, got {images}"


def test_a_class_of_few_images_is_reported():
    """A class that is never predicted right, in n images of 20: it makes the interval wide, and counts while n < 5."""
    widths = []
    for number in (1, FEW_IMAGES - 1, FEW_IMAGES):
        counts = np.tile([[[8], [10], [8]]], (20, 1, 5))
        counts[:, 0] += np.arange(20)[:, None] % 2  # the images differ
        counts[:, :, 4] = 0
        counts[:number, 1, 4] = 10
        found = miou_interval([counts])
        assert found.rare_classes == (number < FEW_IMAGES)
        widths.append(found.high - found.low)
    assert widths[0] > 5 * widths[1]  # the leave-one-out means lose the class where its only image is left out


def test_iou_of_a_class_without_a_pixel_is_nan():
    counts = np.array([[3, 0], [4, 0], [5, 0]])
    assert iou(counts)[0] == 0.5
    assert np.isnan(iou(counts)[1])
    assert mean_iou(counts) == 0.5
    assert np.isnan(mean_iou(np.zeros((3, 2))))
