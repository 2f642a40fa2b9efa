"""Masks as arrays, as GIF and as soft or lossy images."""

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.folder import FolderDataModule
from segment.data.labels import Labels, index_labels
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared

TRUTH = np.kron(np.array([[0, 1, 1], [1, 0, 1]], np.uint8), np.ones((8, 8), np.uint8))
NAMES = ["background", "cell"]


def folder_of(root, save, suffix, count=4):
    """Write images and masks; ``save`` writes a mask to a path."""
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for i in range(count):
        Image.new("RGB", TRUTH.shape[::-1], (i, i, i)).save(root / "images" / f"{i}.png")
        save(root / "masks" / f"{i}{suffix}")
    return root


def first_mask(root, classes=NAMES, **options):
    data = FolderDataModule(str(root), classes=classes, **options)
    data.setup("fit")
    return data.dataset("train")[0]["mask"].numpy()


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint16, bool])
@pytest.mark.parametrize("suffix", [".npy", ".NPY", ".npz"])
def test_arrays(tmp_path, kind, suffix):
    def save(path):
        with path.open("wb") as file:
            (np.savez if suffix == ".npz" else np.save)(file, TRUTH.astype(kind))

    assert np.array_equal(first_mask(folder_of(tmp_path, save, suffix)), TRUTH)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"its array has the shape \(4, 4, 3\), expected \(height, width\)"),
        (np.array([[0.0, 0.7]]), r"its values are float64, expected integers; data.threshold=0.5 makes two classes"),
        (np.array([[0, 300]]), "its values are 0 to 300, expected 0 to 255, where 255 is ignored"),
        (np.array([[-1, 3]]), "its values are -1 to 3, expected 0 to 255"),
        (np.zeros((2, 3, 1), np.uint8), r"its array has the shape"),
        (np.array([[None]]), "it is damaged, or no array of numbers$"),
        (np.array([["1"]]), r"its values are <U1, expected integers$"),
        (np.array([[1j]]), r"its values are complex128, expected integers$"),
    ],
)
def test_arrays_that_are_no_masks(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SegmentError, match=rf"cannot read the mask .*a.npy: {message}"):
        index_labels(2).read_values(tmp_path / "a.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_threshold_takes_finite_values_alone(tmp_path, value):
    np.save(tmp_path / "a.npy", np.array([[0.2, value]]))
    with pytest.raises(SegmentError, match=r"cannot read the mask .*a.npy: it holds values that are not finite"):
        Labels({0: 0, 255: 1}, threshold=0.5).read_values(tmp_path / "a.npy")


def test_arrays_of_other_kinds(tmp_path):
    np.savez(tmp_path / "a.npz", a=TRUTH, b=TRUTH)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    for name, message in (("a.npz", "it has the arrays a, b, expected one"), ("b.npy", ".")):
        with pytest.raises(SegmentError, match=f"cannot read the mask .*{name}: {message}"):
            index_labels(2).read_values(tmp_path / name)
    np.save(tmp_path / "c.npy", TRUTH)
    coloured = FolderDataModule("x", {"0/0/0": "a", "1/1/1": "b"}).labels
    with pytest.raises(SegmentError, match="a table of colours, and an array holds numbers"):
        coloured.read_values(tmp_path / "c.npy")


def test_an_array_of_another_size_is_named(tmp_path):
    root = folder_of(tmp_path, lambda path: np.save(path, TRUTH[1:]), ".npy")
    with pytest.raises(SegmentError, match=r"\.npy is 24x15, its image 24x16"):
        first_mask(root)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_drawn_on_stored_pixels_are_turned_with_their_images(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees, so that the sizes agree
    root = folder_of(tmp_path, lambda path: (np.savez if suffix == ".npz" else np.save)(path, TRUTH), suffix)
    for path in (root / "images").iterdir():
        Image.open(path).save(path, exif=exif)
    assert np.array_equal(first_mask(root, mask_exif="image"), TRUTH[::-1, ::-1])
    assert np.array_equal(first_mask(root), TRUTH)


@pytest.mark.parametrize("classes", [NAMES, {0: "background", 1: "cell"}, {0: "background", 255: "cell"}])
def test_a_gif_of_one_bit(tmp_path, classes):
    mask = Image.fromarray(TRUTH).convert("P")
    mask.putpalette([0, 0, 0, 255, 255, 255])
    root = folder_of(tmp_path, mask.save, ".gif")
    assert np.array_equal(first_mask(root, classes), TRUTH)


@pytest.mark.parametrize(
    "classes", [NAMES, {255: "cell", 0: "background"}, {"255/255/255": "cell", "0/0/0": "background"}]
)
@pytest.mark.parametrize(
    "kind", ["soft.png", "rgb.png", "la.png", "a.jpg", "lossy.webp", "p.gif", "a.npy", "share.npy", "b.npy"]
)
def test_a_threshold_makes_two_classes(tmp_path, classes, kind):
    soft = (TRUTH * 190 + np.arange(24, dtype=np.uint8)).astype(np.uint8)

    def save(path):
        if kind.endswith("npy"):
            np.save(path, {"a": soft, "share": soft / 255, "b": TRUTH == 1}[kind[:-4]])
        else:
            mode = {"rgb": "RGB", "la": "LA", "lossy": "RGB", "p": "P"}.get(kind.partition(".")[0], "L")
            Image.fromarray(soft).convert(mode).save(path)

    threshold = 0.5 if kind == "share.npy" else 128
    mask = first_mask(folder_of(tmp_path, save, kind[kind.index(".") :]), classes, threshold=threshold)
    assert np.array_equal(mask == (0 if next(iter(classes)) in {255, "255/255/255"} else 1), TRUTH == 1)


def test_a_threshold_that_makes_no_sense(tmp_path):
    for classes, threshold, expected in (
        (["a", "b", "c"], 128, "two classes in data.classes, not 3"),
        (NAMES, 0, "a brightness above 0"),
        (NAMES, 256, "a brightness above 0 and up to 255"),
    ):
        with pytest.raises(SegmentError, match=f"data.threshold={threshold}: expected {expected}"):
            FolderDataModule("x", classes, threshold=threshold)
    root = folder_of(tmp_path, lambda path: Image.fromarray(TRUTH).save(path), ".png")
    with pytest.raises(SegmentError, match=r"are nowhere as bright as data.threshold=128: their brightest value is 1"):
        first_mask(root, threshold=128)


@pytest.mark.parametrize(
    ("suffix", "options", "name"),
    [
        (".jpg", {}, "JPEG"),
        (".webp", {}, "lossy WebP"),
        (".png", {"format": "JPEG2000", "irreversible": True}, "lossy JPEG 2000"),
        (".webp", {"exif": Image.Exif().tobytes()}, "lossy WebP"),
        (".tif", {"compression": "jpeg"}, "JPEG in a TIFF"),
    ],
)
def test_lossy_masks_are_refused(tmp_path, suffix, options, name):
    root = folder_of(tmp_path, lambda path: Image.fromarray(TRUTH).convert("RGB").save(path, **options), suffix)
    with pytest.raises(
        SegmentError, match=rf"is a {name}, which changes labels: save it as PNG, or, .*data.threshold=128"
    ):
        first_mask(root, {"0/0/0": "background", "1/1/1": "cell"})


def test_a_lossless_webp_is_read(tmp_path):
    root = folder_of(tmp_path, lambda path: Image.fromarray(TRUTH).convert("RGB").save(path, lossless=True), ".webp")
    assert np.array_equal(first_mask(root, {"0/0/0": "background", "1/1/1": "cell"}), TRUTH)


def test_a_file_that_is_no_mask_is_named(tmp_path):
    root = folder_of(tmp_path, lambda path: Image.fromarray(TRUTH).save(path), ".png")
    (root / "masks" / "2.png").rename(root / "masks" / "2.jp2")
    with pytest.raises(SegmentError, match=r"2.png is missing .*; 2.jp2 cannot be read as one"):
        first_mask(root)


@needs_shared
@pytest.mark.parametrize(
    ("case", "classes", "options"),
    [
        ("mask_gif", NAMES, {"mask_name": "{name}_mask"}),
        ("mask_npy", ["background", "a", "b"], {}),
        ("mask_antialiased", NAMES, {"threshold": 128}),
    ],
)
def test_cases(case, classes, options):
    values, counts = np.unique(first_mask(SHARED / "cases" / case, classes, **options), return_counts=True)
    assert values.tolist() == list(range(len(classes)))
    assert counts[0] / counts.sum() == pytest.approx(0.838 if len(classes) == 3 else 0.917, abs=0.01)


@needs_shared
def test_the_case_of_soft_masks_without_a_threshold():
    with pytest.raises(SegmentError, match=r"data.threshold=128 reads soft or lossy masks of two classes"):
        first_mask(SHARED / "cases" / "mask_antialiased", {0: "background", 255: "a"})
