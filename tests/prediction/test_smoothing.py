"""Probabilities that are averaged over time, and the cuts at which the average begins anew."""

import numpy as np
import pytest
import torch

import segment
from segment.errors import SegmentError
from segment.prediction.smoothing import CutDetector, FrameSegmenter
from tests.clips import scene


@pytest.fixture
def segmenter(checkpoint):
    return segment.load(checkpoint)


def shades(number):
    """Frames of one scene, which differ a little."""
    return np.roll(scene(0, (32, 24)), number, 1)


def test_an_average_is_exponential_and_begins_anew_at_a_cut(segmenter):
    images = [shades(0), shades(1), shades(2), 255 - shades(2), 255 - shades(3)]
    single = []
    for image in images:
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        single.append(segmenter.inference.run(segmenter.net, pixels, lambda whole: whole)[1].numpy())
    frames = FrameSegmenter(segmenter, 0.75)
    found = [frames.predict(image, probabilities=True) for image in images]
    means = [single[0], 0.75 * single[0] + 0.25 * single[1]]
    means += [0.75 * means[1] + 0.25 * single[2], single[3], 0.75 * single[3] + 0.25 * single[4]]
    for one, mean in zip(found, means, strict=True):
        assert (one.mask == mean.argmax(0)).mean() > 0.999
        assert np.abs(one.probabilities / 255 - mean).max() < 0.003
    assert FrameSegmenter(segmenter, 0.75).predict(images[0]).probabilities is None


def test_without_smoothing_a_frame_is_an_image(segmenter):
    found, expected = FrameSegmenter(segmenter).predict(shades(0), True), segmenter.predict(shades(0), True)
    assert (found.mask == expected.mask).all()
    assert (found.probabilities == expected.probabilities).all()


@pytest.mark.parametrize("smooth", [-0.1, 1, float("nan")])
def test_a_share_out_of_range(segmenter, smooth):
    with pytest.raises(SegmentError, match=r"smooth=.*expected a share of the frames before, from 0 to below 1"):
        FrameSegmenter(segmenter, smooth)


def test_a_moving_scene_is_no_cut_and_another_one_is():
    cuts = CutDetector()
    frames = [
        *map(shades, range(6)),
        *(scene(i, (32, 24))[::-1, ::-1] for i in range(4)),
        np.zeros((24, 32, 3), np.uint8),
    ]
    assert [i for i, image in enumerate(frames) if cuts.is_cut(image)] == [6, 10]
