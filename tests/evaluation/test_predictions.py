"""Masks of any program: which files are read, what their values mean, and what is refused."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segment.data.classes import Classes, voc_palette
from segment.data.dataset import SegmentationDataset
from segment.data.labels import Labels, index_labels
from segment.data.pairs import Sample
from segment.errors import SegmentError
from segment.evaluation.predictions import PredictedMasks
from tests.data_sets import palette_image

CLASSES = Classes(("sky", "road", "car"), ((0, 0, 0), (128, 0, 0), (0, 128, 0)))
OFFSET = index_labels(3, offset=1, void=(0, 255))
"""As ADE20K's: value 1 is class 0."""
TRUTH = np.random.default_rng(0).integers(0, 3, (2, 5, 7))
"""Predictions for the images a/x and y."""
IMAGE = torch.zeros(3, 5, 7, dtype=torch.uint8)


def read(folder: Path, labels: Labels | None = None, meaning=None, classes: Classes = CLASSES) -> PredictedMasks:
    samples = [Sample("a/x", Path("images/a/x.jpg"), None), Sample("y", Path("images/y.jpg"), None)]
    return PredictedMasks(folder, SegmentationDataset(samples, labels or index_labels(3), None, 0), classes, meaning)


def matches(masks: PredictedMasks, expected: np.ndarray = TRUTH) -> bool:
    return all(np.array_equal(masks(IMAGE, id).numpy(), mask) for id, mask in zip(("a/x", "y"), expected, strict=True))


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8), mode="L")


def colours(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(CLASSES.palette, np.uint8)[values])


def save(folder: Path, make, first: str = "a/x.png", second: str = "y.png", values: np.ndarray = TRUTH) -> Path:
    """Save both masks: images as they are, arrays by NumPy."""
    for name, mask in zip((first, second), values, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = make(mask)
        if isinstance(content, dict):
            np.savez(folder / name, **content)
        elif isinstance(content, np.ndarray):
            np.save(folder / name, content)
        else:
            content.save(folder / name)
    return folder


def test_linked_folders_of_predictions_are_read(tmp_path):
    save(tmp_path / "masks", grey, "../far/x.png")
    (tmp_path / "masks" / "a").symlink_to(tmp_path / "far")
    assert matches(read(tmp_path / "masks"))


def scores(values: np.ndarray, dtype=np.float16) -> np.ndarray:
    """Return scores (3,5,7) whose argmax the values are."""
    return np.stack([200 * (values == k) + 50 for k in range(3)]).astype(dtype)


@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (grey, ".png"),
        (palette_image, ".png"),
        (colours, ".png"),
        (lambda values: colours(values).convert("RGBA"), ".png"),
        (lambda values: values, ".npy"),
        (lambda values: values.astype(np.uint8), ".npy"),
        (scores, ".npy"),
        (lambda values: {"probabilities": scores(values, np.uint8), "classes": np.array(["a"])}, ".npz"),
        (lambda values: {"softmax": scores(values, np.float32) / 300}, ".npz"),
        (lambda values: {"anything": scores(values)}, ".npz"),
    ],
)
def test_every_kind_of_file_is_read(tmp_path, make, suffix):
    masks = read(save(tmp_path, make, f"a/x{suffix}", f"y{suffix}"))
    assert matches(masks)
    assert masks.describe().endswith("for 2 of 2 images the argmax of scores, which may be rounded") == (
        suffix == ".npz" or make is scores
    )
    assert masks(IMAGE, "y").dtype == torch.int64


def test_files_are_found_by_id_then_by_stem_and_a_png_comes_first(tmp_path):
    save(tmp_path, grey, "a/x.png", "y.png")
    save(tmp_path, grey, "x.png", "y.npy.png", values=np.zeros((2, 5, 7)))
    save(tmp_path, lambda values: values, "a/x.npy", "y.npy", values=np.zeros((2, 5, 7), int))
    masks = read(tmp_path)
    assert matches(masks)
    assert masks.further == ["a/x.npy", "x.png", "y.npy", "y.npy.png"]
    for name in ("a/x.png", "a/x.npy"):
        (tmp_path / name).unlink()
    assert not read(tmp_path)(IMAGE, "a/x").any()  # x.png


def test_files_beside_the_masks_of_segment_predict_are_no_further_ones(tmp_path):
    save(tmp_path, grey)
    for name in (".segment_predict.txt", "y_overlay.jpg", "y.json", "y.npz", "notes.txt"):
        (tmp_path / name).touch()
    assert read(tmp_path).further == ["notes.txt"]


def test_a_file_for_two_images_is_refused(tmp_path):
    save(tmp_path, grey, "x.png", "y.png")
    samples = [Sample(f"{town}/x", Path(f"{town}/x.jpg"), None) for town in "ab"]
    with pytest.raises(SegmentError, match=r"x.png stands for two images, a/x and b/x: name it by id"):
        PredictedMasks(tmp_path, SegmentationDataset(samples, index_labels(3), None, 0), CLASSES)


def test_a_list_that_names_an_image_twice_has_one_file_for_both(tmp_path):
    save(tmp_path, grey, "x.png", "y.png")
    samples = [Sample("x", Path("x.jpg"), None)] * 2
    masks = PredictedMasks(tmp_path, SegmentationDataset(samples, index_labels(3), None, 0), CLASSES)
    assert np.array_equal(masks(IMAGE, "x"), TRUTH[0])


@pytest.mark.parametrize(("id_form", "file_form"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_unicode_forms_of_names_may_differ(tmp_path, id_form, file_form):
    id, file = (unicodedata.normalize(form, "Zürich/ä") for form in (id_form, file_form))
    save(tmp_path, grey, f"{file}.png", "y.png")
    samples = [Sample(id, tmp_path / f"images/{id}.jpg", None)]
    masks = PredictedMasks(tmp_path, SegmentationDataset(samples, index_labels(3), None, 0), CLASSES)
    assert np.array_equal(masks(IMAGE, id), TRUTH[0])
    assert masks.further == ["y.png"]


def test_missing_files_are_named(tmp_path):
    save(tmp_path, grey)
    (tmp_path / "y.png").unlink()
    with pytest.raises(SegmentError, match=r"for 1 of 2 images: y; expected y.png or y.npy or y.npz$"):
        read(tmp_path)
    with pytest.raises(SegmentError, match=r"^predictions=.*none: expected a folder of masks"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda v: grey(v.T), "y.png", r"y.png is 5x7, its image 7x5 \(width x height\)"),
        (lambda v: v[:4], "y.npy", "y.npy is 7x4, its image 7x5"),
        (lambda v: grey(v + 3), "y.png", "y.png holds the value [345], which is no class: expected 0 to 2$"),
        (lambda v: grey(np.where(v == 1, 255, v)), "y.png", "value 255, .* since only the truth may ignore pixels$"),
        (lambda v: palette_image(np.full((5, 7), 255)), "y.png", "holds the value 255, which is no class"),
        (lambda v: v - 1, "y.npy", "holds the value -1, which is no class"),
        (lambda v: v + 254, "y.npy", "holds the value 256, which is no class"),
        (lambda v: v + 0.5, "y.npy", r"y.npy is float64 \(5, 7\): expected class indices \(H,W\) or prob"),
        (lambda v: np.array([{}]), "y.npy", "cannot read .*y.npy: it is damaged, or no array of numbers$"),
        (lambda v: {"a": np.array([{}])}, "y.npz", "cannot read .*y.npz: it is damaged, or no array of numbers$"),
        (lambda v: {"a": v}, "y.npz", r"y.npz is int64 \(5, 7\): expected probabilities \(classes,H,W\)$"),
        (
            lambda v: scores(v).astype(str),
            "y.npy",
            r"y.npy is <U\d+ \(3, 5, 7\): expected class indices \(H,W\) or prob",
        ),
        (lambda v: scores(v).astype(complex), "y.npy", r"y.npy is complex128 \(3, 5, 7\): expected class indices"),
        (lambda v: scores(v)[:2], "y.npy", "y.npy has 2 score maps, the data set 3 classes"),
        (lambda v: scores(v) * np.nan, "y.npy", "y.npy has probabilities that are no numbers"),
        (lambda v: {"a": scores(v), "b": scores(v)}, "y.npz", "y.npz has the arrays a, b: expected probabilities or"),
        (lambda v: Image.fromarray(v.astype(np.uint16)), "y.png", "y.png has mode I;16: expected 8 bits"),
        (
            lambda v: Image.fromarray(np.full((5, 7, 3), 9, np.uint8)),
            "y.png",
            "y.png holds the colour 9/9/9, which stands for no class, or for two",
        ),
    ],
)
def test_what_is_refused(tmp_path, make, name, message):
    save(tmp_path, grey)
    (tmp_path / "y.png").unlink()
    save(tmp_path, make, name, name)
    with pytest.raises(SegmentError, match=message):
        read(tmp_path)(IMAGE, "y")


@pytest.mark.parametrize("suffix", ["png", "npy", "npz"])
def test_a_named_pipe_is_not_opened(tmp_path, suffix):
    save(tmp_path, grey)
    (tmp_path / "y.png").unlink()
    os.mkfifo(tmp_path / f"y.{suffix}")
    with pytest.raises(SegmentError, match=r"cannot read .*: it is not a regular file$"):
        read(tmp_path)(IMAGE, "y")


def test_a_damaged_png_is_named(tmp_path):
    save(tmp_path, grey)
    content = (tmp_path / "y.png").read_bytes()
    for damaged in (content[:-14] + b"x" + content[-13:], content[:30], b""):
        (tmp_path / "y.png").write_bytes(damaged)
        with pytest.raises(SegmentError, match=r"cannot read the mask .*y.png: "):
            read(tmp_path)(IMAGE, "y")


@pytest.mark.parametrize("make", [grey, lambda values: values.astype(np.int32)])
def test_the_data_set_s_own_values_are_recognised(tmp_path, make):
    names = ("a/x.png", "y.png") if make is grey else ("a/x.npy", "y.npy")
    assert matches(read(save(tmp_path / "index", make, *names), OFFSET))  # a 0 is no value of the data set
    masks = read(save(tmp_path / "own", make, *names, TRUTH + 1), OFFSET)  # a 3 is no index
    assert matches(masks)
    assert masks.describe() == "masks from files, whose values are those of the data set's masks"


def test_values_with_two_meanings_are_asked_for(tmp_path):
    values = np.clip(TRUTH, 1, 2)
    save(tmp_path, grey, values=values)
    message = r"may be class indices \(0 to 2\) or the data set's own \(1 to 3\): give predictions.labels=index or pred"
    with pytest.raises(SegmentError, match=message):
        read(tmp_path, OFFSET)
    assert matches(read(tmp_path, OFFSET, "index"), values)
    assert matches(read(tmp_path, OFFSET, "dataset"), values - 1)


def test_values_that_may_be_colours_of_the_data_set_are_asked_for(tmp_path):
    """Grey value k is the index k and the colour k/k/k, which stands for another class."""
    save(tmp_path, grey)
    labels = Labels({(0, 0, 0): 2, (1, 1, 1): 0, (2, 2, 2): 1})
    with pytest.raises(
        SegmentError, match=r"may be class indices \(0 to 2\) or the data set's colours: give predictions"
    ):
        read(tmp_path, labels)


def test_void_of_the_data_set_is_no_class_of_a_prediction(tmp_path):
    save(tmp_path, grey, values=TRUTH)
    with pytest.raises(SegmentError, match="holds the value 0, which is no class: expected 1 to 3"):
        read(tmp_path, OFFSET, "dataset")(IMAGE, "y")


def test_a_palette_says_what_its_values_mean(tmp_path):
    """The values 1 and 2 may be indices or OFFSET's; the colours of the classes decide."""
    values = np.clip(TRUTH, 1, 2)
    assert matches(read(save(tmp_path / "index", palette_image, values=values), OFFSET), values)

    def shifted(mask):
        image = grey(mask)
        image.putpalette([0, 0, 0, *CLASSES.flat_palette()[:-3]])
        return image

    assert matches(read(save(tmp_path / "own", shifted, values=values), OFFSET), values - 1)


def test_a_palette_that_contradicts_the_values_is_refused(tmp_path):
    """Colours reduced to a palette of their own: the value 0 may show the colour of class 2."""
    save(tmp_path, lambda mask: colours(2 - mask).quantize(3))
    with pytest.raises(SegmentError, match=r"the values and the palette of .* stand for different classes"):
        read(tmp_path)
    assert read(tmp_path, meaning="index")(IMAGE, "y").max() == 2


def test_masks_of_a_data_set_of_colours(tmp_path):
    """Two colours are one class; a palette PNG may hold indices or show the data set's colours."""
    labels = Labels({(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 2, (9, 9, 9): 2, (255, 255, 255): 255})
    assert matches(read(save(tmp_path / "rgb", colours), labels))
    assert matches(read(save(tmp_path / "index", palette_image), labels))
    assert matches(read(save(tmp_path / "grey", grey), labels))
    assert matches(read(save(tmp_path / "shown", lambda mask: colours(mask).quantize(3)), labels))


def test_a_colour_of_two_classes_stands_for_neither(tmp_path):
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (128, 0, 0), (128, 0, 0)))
    save(tmp_path, colours, values=np.minimum(TRUTH, 1))
    with pytest.raises(SegmentError, match="holds the colour 128/0/0, which stands for no class, or for two"):
        read(tmp_path, classes=classes)(IMAGE, "y")


def test_colours_of_a_palette_that_is_no_data_set_s_say_nothing(tmp_path):
    def other(mask):
        image = grey(mask)
        image.putpalette([value for colour in voc_palette(256)[7:] for value in colour])
        return image

    assert matches(read(save(tmp_path, other)))


def test_arrays_are_no_colours(tmp_path):
    labels = Labels({(0, 0, 0): 2, (0, 0, 1): 0, (0, 0, 2): 1})
    save(tmp_path, lambda mask: mask.astype(np.uint8), "a/x.npy", "y.npy")
    assert matches(read(tmp_path, labels))
    with pytest.raises(SegmentError, match=r"x.npy has one number a pixel, and the data set's masks have colours"):
        read(tmp_path, labels, "dataset")(IMAGE, "a/x")
