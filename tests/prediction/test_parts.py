"""The parts into which a large image is cut, and the weights of a sliding window."""

import random
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from segment.prediction.parts import MARGIN, cut, window_weights


def test_the_parts_of_a_line():
    generator = random.Random(0)
    for _ in range(500):
        side, count, stride = generator.randint(1, 7000), generator.randint(1, 30), generator.choice([1, 8, 32, 48])
        spans = cut(side, count, stride)
        assert len(spans) <= count
        assert len({seen.stop - seen.start for seen, _, _ in spans}) == 1
        assert (spans[0].kept.start, spans[-1].kept.stop) == (0, side)
        for seen, kept, inside in spans:
            assert seen.start % stride == (side - seen.stop) % stride == 0  # on the net's grid, flipped or not
            assert (seen.start + inside.start, seen.start + inside.stop) == (kept.start, kept.stop)
        for before, after in pairwise(spans):
            assert before.kept.stop == after.kept.start
            assert min(before.seen.stop - before.kept.stop, after.kept.start - after.seen.start) >= MARGIN


def test_the_window_s_weight_is_nnunet_s():
    """``compute_gaussian``: a blurred point, its sigma an eighth of the window."""
    point = np.zeros((65, 33))
    point[32, 16] = 1
    expected = gaussian_filter(point, [65 / 8, 33 / 8], truncate=9, mode="constant")
    np.testing.assert_allclose(window_weights(65, 33).numpy(), expected / expected.max(), rtol=0.01)
