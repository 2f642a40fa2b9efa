"""Conversion: round trips through every format, void borders, and folders that are continued or refused."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import distance_transform_edt, gaussian_filter

from segment.data.annotations.conversion import WRITERS, claim_folder, convert_pictures
from segment.data.annotations.scenes import Picture, scene_of_labels
from segment.data.annotations.writers import void_border
from segment.data.classes import Classes, voc_palette
from segment.data.datasets.annotated import AnnotationDataModule
from segment.data.datasets.folder import FolderDataModule
from segment.errors import SegmentError
from tests.data.annotations.conftest import save_photo

CLASSES = Classes(("background", "cat", "potted plant", "dog"), voc_palette(4))


def class_maps():
    """Return class maps with nested objects, holes, objects of one pixel, and void."""
    random = np.random.default_rng(0)
    smooth = (gaussian_filter(random.random((40, 60)), 3) * 16).astype(int) % 4
    noise = np.where(random.random((20, 30)) < 0.2, random.integers(0, 4, (20, 30)), 0)
    rings = np.zeros((30, 30), int)
    for i, value in enumerate((1, 0, 2, 255, 3, 1)):
        rings[2 * i + 1 : 29 - 2 * i, 2 * i + 1 : 29 - 2 * i] = value
    crossing = np.zeros((9, 20))  # a line leaves a ring between two of its pixels that touch at a corner
    crossing[[0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4], [1, 2, 3, 0, 4, 0, 4, 0, 3, 0, 1, 2]] = 1
    crossing[[2, 3, 4, *[5] * 15], [2, 2, 3, *range(4, 19)]] = 2
    maps = (smooth, noise, rings, np.zeros((5, 5)), np.full((4, 7), 2), crossing)
    return [one.astype(np.uint8) for one in maps]


def pictures(root, maps):
    found = []
    for i, labels in enumerate(maps):
        image = save_photo(root / f"{i}.jpg", size=labels.shape[::-1])
        split = "train" if i % 2 else "val"
        found.append(Picture(f"{i}", image, split, lambda labels=labels: scene_of_labels(labels, CLASSES)))
    return found


def write(output, found, name, tolerance=0.0, border=0, difficult="void"):
    report = []
    convert_pictures(found, WRITERS[name](output, CLASSES, border, tolerance, difficult), report.append)
    assert report == []


def read_back(root, name):
    classes = [name for name in CLASSES.names if name != "background"]
    data = AnnotationDataModule(str(root), name, classes, val_fraction=0.5)
    datasets = [data.make_dataset(split, None) for split in ("train", "val")]
    return {one.id(i).rpartition("/")[2]: one.load(i)[1].numpy() for one in datasets for i in range(len(one))}


@pytest.mark.parametrize("name", ["labelme", "coco", "cvat", "cvat zip"])
def test_round_trips_are_exact(tmp_path, name):
    if name == "coco":
        pytest.importorskip("pycocotools")
    maps = class_maps()
    write(tmp_path / "out", pictures(tmp_path / "photos", maps), name.split()[0])
    place = tmp_path / "out"
    if name.startswith("cvat"):
        place = tmp_path / "photos"
        with zipfile.ZipFile(tmp_path / "out" / "cvat.zip") as archive:
            assert {"labelmap.txt", "ImageSets/Segmentation/default.txt"} <= {*archive.namelist()}
            if name == "cvat":
                archive.extractall(place / "export")
        if name == "cvat zip":
            (tmp_path / "out" / "cvat.zip").rename(place / "export.zip")
    found = read_back(place, name.split()[0])
    for i, labels in enumerate(maps):
        assert np.array_equal(found[f"{i}"], labels), i


@pytest.mark.parametrize("name", ["labelme", "coco"])
@pytest.mark.parametrize("tolerance", [1.0, 3.0])
def test_simplified_outlines_stay_within_the_tolerance(tmp_path, name, tolerance):
    if name == "coco":
        pytest.importorskip("pycocotools")
    labels = class_maps()[0]
    write(tmp_path / "out", pictures(tmp_path / "photos", [labels, labels]), name, tolerance)
    found = read_back(tmp_path / "out", name)["0"]
    near = np.zeros(labels.shape, bool)
    for value in range(4):
        padded = np.pad(labels == value, 1)
        depth = np.maximum(distance_transform_edt(padded), distance_transform_edt(~padded))[1:-1, 1:-1]
        near |= depth <= tolerance
    assert near[found != labels].all()
    assert tolerance < 2 or (found != labels).any()


def test_an_object_of_one_pixel_survives_any_tolerance(tmp_path):
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 1
    for name in ("labelme", "coco"):
        write(tmp_path / name, pictures(tmp_path / "photos", [labels, labels]), name, 5.0)
        assert np.array_equal(read_back(tmp_path / name, name)["0"], labels)


def test_the_void_border_has_four_pixels_between_straight_sides():
    numbers = np.zeros((20, 30), int)
    numbers[:, 10:20] = 1
    numbers[:, 20:] = 2
    void = np.zeros(numbers.shape, bool)
    assert np.flatnonzero(void_border(numbers, void, 5)[7]).tolist() == [8, 9, 10, 11, 18, 19, 20, 21]
    assert np.flatnonzero(void_border(numbers, void, 3)[7]).tolist() == [9, 10, 19, 20]
    void[:, 8:12] = True  # a border that is there already is not widened
    assert np.flatnonzero(void_border(numbers, void, 5)[7]).tolist() == [18, 19, 20, 21]


def test_voc_layout(tmp_path):
    labels = class_maps()[2]
    found = pictures(tmp_path / "photos", [labels])
    Image.open(found[0].image).save(tmp_path / "photos" / "1.png")
    found.append(found[0]._replace(name="1", image=tmp_path / "photos" / "1.png"))
    write(tmp_path / "out", found, "voc", border=5)
    assert (tmp_path / "out" / "JPEGImages" / "0.jpg").read_bytes() == found[0].image.read_bytes()
    assert Image.open(tmp_path / "out" / "JPEGImages" / "1.jpg").format == "JPEG"
    mask, objects = (Image.open(tmp_path / "out" / f"Segmentation{kind}" / "0.png") for kind in ("Class", "Object"))
    assert mask.mode == objects.mode == "P"
    assert (mask.size, mask.getpalette()[3:6]) == ((30, 30), [128, 0, 0])
    assert {*np.unique(objects)} - {0, 255} <= {1, 2, 3, 4}
    assert np.array_equal(np.array(mask) == 255, np.array(objects) == 255)
    lists = tmp_path / "out" / "ImageSets" / "Segmentation"
    assert (lists / "trainval.txt").read_text() == "0\n1\n"
    text = (tmp_path / "out" / "Annotations" / "0.xml").read_text()
    assert "<xmin>2</xmin>" in text
    assert text.count("<object>") == 4


def test_conversion_continues_and_overwrites_nothing(tmp_path):
    found, output = pictures(tmp_path / "photos", class_maps()), tmp_path / "out"
    claim_folder(output, {"format": "labelme"})
    writer = WRITERS["labelme"](output, CLASSES, 0, 0.0, "void")
    assert convert_pictures(found[:3], writer, print) == (3, 0)
    (output / "1.json").write_text("corrected")
    claim_folder(output, {"format": "labelme"})
    assert convert_pictures(found, writer, print) == (3, 3)
    assert (output / "1.json").read_text() == "corrected"
    with pytest.raises(SegmentError, match="converted with other settings"):
        claim_folder(output, {"format": "coco"})
    with pytest.raises(SegmentError, match="is no folder of an earlier conversion"):
        claim_folder(tmp_path / "photos", {})
    with pytest.raises(SegmentError, match="several images would be written as 0"):
        convert_pictures([found[0], found[0]], writer, print)


@pytest.mark.parametrize("name", ["voc", "masks", "cvat"])
def test_names_with_signs_of_labelmaps_are_changed_and_noted(tmp_path, name, capsys):
    labels = np.full((20, 30), 2, np.uint8)
    labels[3:9, 4:12] = 1
    classes = Classes(("background", "person:walking", "#1"), voc_palette(3))
    scene = scene_of_labels(labels, classes)
    scene = replace(scene, objects=[one._replace(flags=frozenset({"difficult"})) for one in scene.objects])
    found = [picture._replace(scene=lambda: scene) for picture in pictures(tmp_path / "photos", [labels] * 2)]
    convert_pictures(found, WRITERS[name](tmp_path / "out", classes, 0, 0.0, "class"), print)
    assert capsys.readouterr().out == "note: labelmap.txt has person-walking for person:walking, -1 for #1\n"
    if name == "masks":
        assert FolderDataModule(str(tmp_path / "out")).classes.names == ("background", "person-walking", "-1")
        return
    for picture in found:
        (tmp_path / "out" / picture.image.name).write_bytes(picture.image.read_bytes())
    (tmp_path / "out" / "cvat.zip").unlink(missing_ok=True)
    data = AnnotationDataModule(str(tmp_path / "out"), "cvat")
    assert data.counts()["label"] == {"person-walking": 2, "-1": 2}
    assert data.counts().get("flag", {}) == ({"difficult": 4} if name == "voc" else {})
    with pytest.raises(SegmentError, match=r"'a:b' and 'a-b' would both be 'a-b' in labelmap.txt: rename one of them"):
        WRITERS[name](tmp_path / "no", Classes(("background", "a:b", "a-b"), voc_palette(3)), 0, 0.0, "class")


@pytest.mark.parametrize("name", ["voc", "masks", "labelme", "cvat"])
def test_the_files_of_all_images_are_finished_by_the_next_run(tmp_path, name, monkeypatch):
    """A run may be killed after the last image, before its name is in the lists."""
    found, output = pictures(tmp_path / "photos", class_maps()), tmp_path / "out"
    writer = WRITERS[name](output, CLASSES, 0, 0.0, "void")
    convert_pictures(found, writer, print)
    expected = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    own = [*writer.lists(found), output / "cvat.zip"]
    for path in own:
        path.unlink(missing_ok=True)
    assert convert_pictures(found, writer, print) == (0, len(found))
    edited = next(iter(writer.lists(found)))
    edited.write_text("edited")
    convert_pictures(found, writer, print)
    assert edited.read_text() == "edited"
    writer.last_file(found[0]).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(writer, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert_pictures(found, writer, print)
    (writer.last_file(found[0]).parent / f".{'0a' * 8}.12.part").touch()  # what a kill leaves
    assert convert_pictures(found, writer, print) == (0, len(found))
    assert {path.relative_to(output) for path in output.rglob("*") if path.is_file()} == {*expected}
    archive = Path("cvat.zip")
    assert all((output / path).read_bytes() == content for path, content in expected.items() if path != archive)


def test_a_broken_image_is_reported_and_the_rest_is_written(tmp_path):
    def broken():
        raise SegmentError("no")

    def unknown():
        raise UnidentifiedImageError("cannot identify image file 'a'")

    found, lines = pictures(tmp_path / "photos", class_maps()[:3]), []
    writer = WRITERS["coco"](tmp_path / "out", CLASSES, 0, 0.0, "void")
    faulty = [found[0]._replace(scene=broken), found[1]._replace(scene=unknown)]
    assert convert_pictures([*faulty, found[2]], writer, lines.append) == (1, 0)
    assert lines == ["no", f"cannot read the image {found[1].image}: it is no image, or of an unknown kind"]
    [path] = (tmp_path / "out" / "annotations").glob("*.json")
    assert len(json.loads(path.read_text())["images"]) == 1
