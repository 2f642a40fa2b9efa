"""Objects of VOC's masks: instances, boxes that are matched by overlap, and files that are missing or broken."""

import os

import numpy as np
import pytest
from PIL import Image

from segment.data.annotations.masks import read_boxes
from segment.data.datasets.annotated import AnnotationDataModule
from segment.data.datasets.voc import VOCDataModule
from segment.data.doctor import examine
from segment.errors import SegmentError
from tests.data_sets import palette_image

OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult>"
    "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def xml(*objects):
    return f"<annotation><filename>x.jpg</filename>{''.join(OBJECT.format(*one) for one in objects)}</annotation>"


@pytest.fixture
def voc_objects(tmp_path):
    """Write an image with two touching persons and a bird; a boat is difficult, and void in the masks."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    classes, objects = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    for number, (label, box) in enumerate([(15, (5, 5, 20, 30)), (15, (20, 5, 35, 30)), (3, (40, 5, 55, 15))], 1):
        classes[box[1] : box[3], box[0] : box[2]] = label
        objects[box[1] : box[3], box[0] : box[2]] = number
    classes[20:35, 40:55] = objects[20:35, 40:55] = 255
    text = xml(
        ("boat", 1, 41, 21, 55, 35),
        ("bird", 0, 41, 6, 55, 15),
        ("person", 1, 21, 6, 35, 30),
        ("person", 0, 6, 6, 20, 30),
    )
    for split, name in (("train", "2007_000001"), ("val", "2007_000002")):
        pixels = np.random.default_rng(len(split)).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(base / "JPEGImages" / f"{name}.jpg")
        palette_image(classes).save(base / "SegmentationClass" / f"{name}.png")
        palette_image(objects).save(base / "SegmentationObject" / f"{name}.png")
        (base / "Annotations" / f"{name}.xml").write_text(text)
        (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{name}\n")
    return base


@pytest.mark.parametrize("name", ["SegmentationClass", "SegmentationObject"])
def test_a_mask_that_is_a_named_pipe_is_not_waited_for(voc_objects, name):
    path = voc_objects / name / "2007_000001.png"
    path.unlink()
    os.mkfifo(path)
    note = next(note for note in AnnotationDataModule(str(voc_objects)).findings()[1] if note.kind == "not counted")
    assert note.message.startswith(f"cannot read the mask {path}: it is not a regular file")


@pytest.mark.parametrize("name", ["SegmentationClass", "SegmentationObject"])
def test_a_mask_that_is_no_image_is_named(voc_objects, name):
    (voc_objects / name / "2007_000001.png").write_text("text")
    data = AnnotationDataModule(str(voc_objects))
    with pytest.raises(SegmentError, match=f"cannot read the mask .*{name}/2007_000001.png: it is no image, or of"):
        [one.load() for one in data.annotations]


def test_objects_are_matched_with_boxes_by_overlap(voc_objects):
    data = AnnotationDataModule(str(voc_objects), difficult="class")
    (found,) = (one.load() for one in data.annotations if one.split == "train")
    labels = [(item.label, "difficult" in item.flags, item.box()) for item in found.objects if item.label != "void"]
    assert labels == [
        ("person", False, (5, 5, 19, 29)),
        ("person", True, (20, 5, 34, 29)),
        ("bird", False, (40, 5, 54, 14)),
    ]
    mask = np.array(Image.open(voc_objects / "SegmentationClass" / "2007_000001.png"))
    names = data.classes.names
    read = data.dataset("train")[0]["mask"].numpy()
    assert np.array_equal(read == names.index("person"), mask == 15)
    assert np.array_equal(read == 255, mask == 255)


def test_check_counts_objects_and_difficult_ones(voc_objects):
    data = VOCDataModule(str(voc_objects))
    assert examine(data, ["train", "val"]).counts == {
        "object": {"person": 4, "bird": 2},
        "difficult object": {"boat": 2, "person": 2},
    }
    (voc_objects / "SegmentationObject" / "2007_000001.png").write_bytes(b"broken")
    (voc_objects / "Annotations" / "2007_000002.xml").write_text("<a")
    report = examine(VOCDataModule(str(voc_objects)), ["train", "val"])
    assert report.counts == {"object": {"person": 2, "bird": 1}, "difficult object": {"boat": 1, "person": 1}}
    broken = {note.message.partition(": ")[0] for note in report.notes if note.kind == "not counted"}
    assert broken == {
        f"cannot read the mask {voc_objects}/SegmentationObject/2007_000001.png",
        f"cannot read {voc_objects}/Annotations/2007_000002.xml",
    }
    same = examine(AnnotationDataModule(str(voc_objects)), ["train", "val"])
    assert {note.message.partition(": ")[0] for note in same.notes if note.kind == "not counted"} == broken
    (voc_objects / "SegmentationObject" / "2007_000001.png").unlink()
    (voc_objects / "Annotations" / "2007_000001.xml").unlink()
    assert VOCDataModule(str(voc_objects)).counts() == {"object": {"person": 2, "bird": 1}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (xml(("dog", 0, 1, 1, "x", 4)), "an object has no box of four finite numbers"),
        (xml(("dog", 0, 1, 1, "nan", 4)), "an object has no box of four finite numbers"),
        ("<annotation><object><name>dog</name></object></annotation>", "has no box"),
        ("<!DOCTYPE x []><annotation/>", "document type"),
    ],
)
def test_broken_xml_is_one_line(tmp_path, text, reason):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(SegmentError, match=reason):
        read_boxes(tmp_path / "a.xml")


def test_a_box_whose_sides_are_swapped_matches_no_object(voc_objects):
    text = xml(("bird", 1, 41, 6, 25, 15), ("bird", 1, 41, 16, 55, 6), ("person", 1, 6, 6, 20, 30))
    (voc_objects / "Annotations" / "2007_000001.xml").write_text(text)  # the first box has minus the area of the bird
    objects = AnnotationDataModule(str(voc_objects)).annotations[0].load().objects
    assert [item.label for item in objects if "difficult" in item.flags] == ["person"]


def test_masks_that_do_not_fit_are_one_line(voc_objects):
    palette_image(np.zeros((3, 3), np.uint8)).save(voc_objects / "SegmentationObject" / "2007_000001.png")
    data = AnnotationDataModule(str(voc_objects))
    with pytest.raises(SegmentError, match="differ in size"):
        data.annotations[0].load()
    palette_image(np.full((40, 60), 77, np.uint8)).save(voc_objects / "SegmentationClass" / "2007_000001.png")
    with pytest.raises(SegmentError, match="holds 1 values that no class has"):
        data.dataset("train").load(0)
