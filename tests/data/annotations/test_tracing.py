"""Outlines: exact for PIL and pycocotools at tolerance 0, and close to the mask otherwise."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter

from segment.data.annotations.tracing import simplify, trace


def masks(count=60):
    random = np.random.default_rng(0)
    for i in range(count):
        height, width = random.integers(1, 40, 2)
        values = random.random((height, width))
        yield gaussian_filter(values, 1.5) > 0.5 if i % 2 else values < random.random()


def draw_by_pil(shape, rings, tolerance=0.0):
    image = Image.new("1", shape[::-1])
    for points, value in rings:
        xy = [(float(x), float(y)) for x, y in simplify(points, tolerance)]
        ImageDraw.Draw(image).polygon(xy + [xy[0]] * max(0, 3 - len(xy)), fill=value, outline=value)
    return np.array(image)


def in_turn(parts):
    """Return outlines and holes such that an object in a hole comes after the hole."""
    parts = sorted(parts, key=lambda rings: -np.prod(np.ptp(rings[0].inside, 0) + 1))
    return [pair for rings in parts for pair in [(rings[0].inside, 1), *((hole.outside, 0) for hole in rings[1:])]]


def test_pil_draws_the_mask_again():
    for mask in masks():
        assert np.array_equal(draw_by_pil(mask.shape, in_turn(trace(mask))), mask)


def test_coco_draws_the_mask_again():
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks():
        found = np.zeros(mask.shape, bool)
        for rings in trace(mask):
            polygons = [simplify(ring.corners, 0).ravel().tolist() for ring in rings]
            outline, *holes = (coco.decode(coco.frPyObjects([one], *mask.shape))[..., 0] > 0 for one in polygons)
            found |= outline & ~np.any(holes, 0) if holes else outline
        assert np.array_equal(found, mask)


@pytest.mark.parametrize("tolerance", [1.0, 2.0, 4.0])
def test_simplified_outlines_stay_near(tolerance):
    fewer = 0
    for seed in range(10):
        mask = gaussian_filter(np.random.default_rng(seed).random((80, 90)), 6) > 0.5
        rings = in_turn(trace(mask))
        drawn = draw_by_pil(mask.shape, rings, tolerance)
        padded = np.pad(mask, 1)
        border = np.maximum(distance_transform_edt(padded), distance_transform_edt(~padded))[1:-1, 1:-1]
        assert border[drawn != mask].max(initial=0) <= tolerance
        fewer += sum(len(simplify(points, tolerance)) < len(points) / 2 for points, _ in rings)
    assert fewer > 10


def test_straight_sides_need_their_corners_alone():
    mask = np.zeros((9, 9), bool)
    mask[2:6, 3:8] = True
    ((ring,),) = trace(mask)
    assert sorted(map(tuple, simplify(ring.inside, 0).tolist())) == [(3, 2), (3, 5), (7, 2), (7, 5)]
    assert sorted(map(tuple, simplify(ring.corners, 0).tolist())) == [(3, 2), (3, 6), (8, 2), (8, 6)]
    mask[2:6, 3:8] = False
    mask[4, 4] = True
    ((ring,),) = trace(mask)
    assert len(simplify(ring.inside, 0)) == 1
