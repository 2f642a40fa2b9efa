"""Effects against independent counts and against scikit-image's lightness."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.color import rgb2lab
from skimage.measure import label, regionprops

from segment.effects import alert, blur, cutout, measure, recolour, retexture, select
from segment.errors import SegmentError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (80, 90, 3)).astype(np.uint8)
MASK = np.zeros((80, 90), np.uint8)
MASK[20:60, 30:70] = 2
SMOOTH = gaussian_filter(RANDOM.normal(size=(80, 90)), 12)
SMOOTH = (SMOOTH - SMOOTH.min()) / np.ptp(SMOOTH)
PROBABILITIES = np.rint(np.stack([1 - SMOOTH, 0 * SMOOTH, SMOOTH]) * 255).astype(np.uint8)
TEXTURE = RANDOM.integers(0, 256, (16, 16, 3)).astype(np.uint8)


def lightness(image: np.ndarray) -> np.ndarray:
    return rgb2lab(image)[MASK == 2, 0]


@pytest.mark.parametrize("colour", ["red", "#b03060", "yellow", "black", "white", "gray"])
@pytest.mark.parametrize("opacity", [1, 0.5])
def test_recolour_keeps_the_order_of_lightness(colour, opacity):
    painted = recolour(IMAGE, MASK, [2], colour, opacity)
    assert (painted[MASK == 0] == IMAGE[MASK == 0]).all()
    after = lightness(painted)[np.argsort(lightness(IMAGE))]
    assert (np.maximum.accumulate(after) - after).max() < 0.509  # no grey level is further from the next
    assert after.std() > 0.24 * lightness(IMAGE).std()


def test_recolour_gives_the_colour():
    grey = np.full((80, 90, 3), 128, np.uint8)
    assert (recolour(grey, MASK, [2], "#b03060")[MASK == 2] == [0xB0, 0x30, 0x60]).all()
    assert (recolour(grey, MASK, [2], "white")[MASK == 2] == 255).all()
    assert (recolour(grey, MASK, [2], "black")[MASK == 2] == 0).all()
    assert (recolour(IMAGE, MASK, [1], "red") == IMAGE).all()  # no such pixel


@pytest.mark.parametrize("options", [{}, {"scale": 3}, {"corners": [[30, 20], [70, 25], [65, 60], [20, 70]]}])
def test_retexture_keeps_the_shading(options):
    photo = np.repeat((60 + 120 * SMOOTH)[..., None], 3, 2).astype(np.uint8)
    covered = retexture(photo, MASK, [2], TEXTURE, **options)
    assert (covered[MASK == 0] == photo[MASK == 0]).all()
    assert np.corrcoef(lightness(photo), lightness(covered))[0, 1] > 0.9


@pytest.mark.parametrize("value", [0, 3, 250, 255])
def test_shading_stays_under_a_black_or_white_texture(value):
    photo = np.repeat((110 + 40 * SMOOTH)[..., None], 3, 2).astype(np.uint8)  # weak shading
    covered = retexture(photo, MASK, [2], np.full((8, 8, 3), value, np.uint8))
    assert np.corrcoef(lightness(photo), lightness(covered))[0, 1] > 0.9
    assert abs(lightness(covered).mean() - 100 * (value > 9)) < 16


def test_a_texture_lies_where_its_corners_are():
    flat, left = np.full((80, 90, 3), 200, np.uint8), np.zeros((2, 2, 3), np.uint8)
    left[:, 0], left[:, 1] = [255, 0, 0], [0, 0, 255]
    covered = retexture(flat, MASK, [2], left, corners=[[30, 20], [70, 20], [70, 60], [30, 60]])
    assert covered[40, 40].argmax() == 0
    assert covered[40, 60].argmax() == 2


def test_a_huge_tile_takes_no_memory_and_is_the_same():
    whole = np.asarray(
        Image.fromarray(TEXTURE).resize([30 * side for side in TEXTURE.shape[1::-1]], Image.Resampling.LANCZOS)
    )
    assert (retexture(IMAGE, MASK, [2], TEXTURE, scale=30) == retexture(IMAGE, MASK, [2], whole)).all()
    assert retexture(IMAGE, MASK, [2], TEXTURE, scale=1e9).shape == IMAGE.shape


def test_cutout():
    hard = cutout(IMAGE, MASK, [2])
    assert (hard[..., 3] == np.where(MASK == 2, 255, 0)).all()
    assert (hard[..., :3] == IMAGE).all()
    other = cutout(IMAGE, MASK, [2], background=np.zeros((10, 30, 3), np.uint8))
    assert (other == np.where(MASK[..., None] == 2, IMAGE, 0)).all()


@pytest.mark.parametrize("feather", [1, 3, 7.5])
@pytest.mark.parametrize("probabilities", [None, PROBABILITIES])
def test_a_soft_edge_ends_at_its_radius(feather, probabilities):
    soft, hard = select(MASK, [2], probabilities, feather), MASK == 2
    distance = np.where(hard, distance_transform_edt(hard), distance_transform_edt(~hard)) - 0.5
    assert (soft == hard)[distance >= feather].all()
    assert not (soft == hard)[distance < feather].all()
    assert (soft == hard)[distance + 0.5 > feather].all()  # from centre to centre of pixels, too


def test_blur_changes_nothing_outside():
    assert (blur(IMAGE, MASK, [2])[MASK == 0] == IMAGE[MASK == 0]).all()
    assert blur(IMAGE, MASK, [2], radius=20)[MASK == 2].std() < IMAGE[MASK == 2].std() / 5


def test_measure_equals_an_independent_count():
    mask = (RANDOM.random((60, 70)) < 0.3).astype(np.uint8)
    ours = measure(np.zeros((60, 70, 3), np.uint8), mask, [1], scale=0.5)
    theirs = regionprops(label(mask, connectivity=2))
    assert sorted(region.area for region in ours) == sorted(region.area / 4 for region in theirs)
    largest = max(theirs, key=lambda region: region.area)
    assert ours[0].diameter == pytest.approx(largest.equivalent_diameter_area / 2)
    assert ours[0].length == pytest.approx(largest.feret_diameter_max / 2, abs=0.5)
    assert (ours[0].y, ours[0].x) == pytest.approx(np.add(largest.centroid, 0.5))


def test_alert_counts_the_pixels_of_a_polygon():
    found = alert(IMAGE, MASK, [2], [[0, 0], [90, 0], [90, 40], [0, 40]], threshold=0.3)
    assert found == ((MASK[:40] == 2).mean(), False)
    triangle = alert(IMAGE, MASK, [0, 2], [[-50, 0], [90, 0], [90, 200]])
    assert triangle == (1, True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recolour(IMAGE, MASK, [2], "reddish"), "colour=reddish: expected a name"),
        (lambda: recolour(IMAGE, MASK, [2], "red", 2), "opacity=2: expected"),
        (lambda: select(MASK, [2], None, float("nan")), "feather=nan: expected"),
        (lambda: retexture(IMAGE, MASK, [2], "no.jpg"), "no.jpg"),
        (lambda: retexture(IMAGE, MASK, [2], TEXTURE, scale=0), "expected scale above 0"),
        (lambda: retexture(IMAGE, MASK, [2], TEXTURE, corners=[[0, 0], [1, 1], [1, 0], [0, 1]]), "convex"),
        (lambda: retexture(IMAGE, MASK, [2], TEXTURE, corners=[[0, 0], [1, 0], [1]]), "convex"),
        (lambda: recolour(IMAGE, MASK, [2], "#b0306080"), "colour=#b0306080: expected a name"),
        (lambda: retexture(IMAGE, MASK, [2], TEXTURE, corners=[1, 2]), "convex"),
        (lambda: blur(IMAGE, MASK, [2], 0), "radius=0"),
        (lambda: measure(IMAGE, MASK, [2], 0), "scale=0"),
        (lambda: measure(IMAGE, MASK, [2], -1), "scale=-1: expected the length"),
        (lambda: measure(IMAGE, MASK, [2], 1e300), "scale=1e.300: expected the length"),
        (lambda: alert(IMAGE, MASK, [2], [[0, 0], [1, 1]]), "three or more points"),
        (lambda: alert(IMAGE, MASK, [2], [[900, 0], [901, 0], [901, 9]]), "no pixel of the image, which is 90x80"),
    ],
)
def test_wrong_values(call, message):
    with pytest.raises(SegmentError, match=message):
        call()


@pytest.mark.parametrize("polygon", [[[0, 1], [1, 1]], [[0, 1], [1]], [[0, 0], [9, 0], [9, float("nan")]], "lane", 3])
def test_a_malformed_polygon_is_one_line(polygon):
    with pytest.raises(SegmentError, match=r"^polygon=.*: expected three or more points \[x,y\]$"):
        alert(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), [0], polygon)
