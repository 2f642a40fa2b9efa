"""Intervals over the images that all runs have, against slow loops and against a known population."""

import math

import numpy as np
import pytest
from scipy.stats import t

from segment.comparison.paired import common_images, paired_interval
from segment.evaluation.intervals import mean_iou
from segment.records.per_image import ImageCounts
from tests.comparison.conftest import NAMES, random_pixels


def numbered(pixels: np.ndarray) -> ImageCounts:
    return ImageCounts(np.arange(len(pixels)), pixels, NAMES)


def test_intervals_against_a_slow_jackknife():
    nets = [
        [numbered(random_pixels(30, skill, seed)) for seed in seeds] for skill, seeds in ((0.9, (1, 2)), (0.7, (3,)))
    ]

    def difference(images: list[int]) -> float:
        means = []
        for net in nets:
            scores = []
            for run in net:
                hits, truth, predicted = (sum(run.pixels[i, kind] for i in images) for kind in range(3))
                scores.append(np.mean([h / (t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True)]))
            means.append(np.mean(scores))
        return means[0] - means[1]

    everything = list(range(30))
    left_out = [difference([i for i in everything if i != j]) for j in everything]
    error = math.sqrt(29 / 30 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    found = paired_interval(*nets)
    assert found.value == pytest.approx(difference(everything))
    assert found[1:3] == pytest.approx([found.value + sign * t.ppf(0.975, 29) * error for sign in (-1, 1)])
    assert found.images == 30


def test_a_net_is_surely_as_good_as_itself():
    net = [numbered(random_pixels(30, 0.9))]
    assert paired_interval(net, net)[:3] == (0, 0, 0)


def test_only_images_in_common_with_equal_truth_are_compared():
    pixels = random_pixels(10, 0.8)
    changed = pixels.copy()
    changed[3, 1, 0] += 1
    ids = np.array([f"{i}" for i in range(10)])
    order = np.random.default_rng(0).permutation(9)
    first, other = ImageCounts(ids, pixels, NAMES), ImageCounts(ids[order], changed[order], NAMES)
    assert common_images([first, other]).tolist() == [*"012", *"45678"]
    assert paired_interval([first], [other])[:4] == (0, 0, 0, 8)
    assert not paired_interval([first], [first._replace(ids=np.char.add(ids, "x"))]).exists
    assert not paired_interval([ImageCounts(ids[:1], pixels[:1], NAMES)]).exists  # one image says nothing about others


def test_an_interval_covers_the_truth_as_often_as_it_says():
    population = random_pixels(20_000, 0.8)
    true, rng = float(mean_iou(population.sum(0))), np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        found = paired_interval([numbered(population[rng.integers(0, len(population), 60)])])
        inside += found.low <= true <= found.high
    assert 0.88 <= inside / 200 <= 0.99
