"""Annotated photos as a data set: classes, splits, what is left out, and what segment.check reports."""

import json
import os
import re
import shlex
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.data.annotations.labels import class_names, class_of_labels, paste, spellings
from segment.data.datasets.annotated import AnnotationDataModule
from segment.data.doctor import examine
from segment.errors import SegmentError
from tests.data.annotations.conftest import BOX, labelme, save_photo, shape, write_labelme


def split_ids(data):
    return {split: [sample.id for sample in data.samples(split)] for split in ("train", "val")}


def test_classes_are_sorted_by_name_and_printed_ready_to_paste(tmp_path, capsys):
    data = AnnotationDataModule(str(write_labelme(tmp_path)))
    assert data.classes.names == ("background", "dog", "person")
    assert capsys.readouterr().out == "classes found: 'data.classes=[background,dog,person]'\n"
    assert sorted(id for ids in split_ids(data).values() for id in ids) == ["00", "01", "02", "03", "04", "05"]
    data.setup("fit")
    mask = data.dataset("train")[0]["mask"]
    assert (mask == 2).sum() == 80
    pasted = paste(["background", "potted plant", "a, b", "tv/monitor"])
    assert pasted == """'data.classes=[background,potted plant,"a, b",tv/monitor]'"""
    config = load_config(["data=labelme", f"data.root={tmp_path}", pasted.strip("'")])
    assert [*config.data.classes] == ["background", "potted plant", "a, b", "tv/monitor"]


@pytest.mark.parametrize(
    "label", ["driver's seat", 'say "hi"', "back\\", '\\"', "${x}", "null", "True", "1e5", "1", "犬 猫", "a\\b"]
)
def test_odd_labels_are_ready_to_paste(label):
    (pasted,) = shlex.split(paste(["background", label]))
    assert [*load_config(["data=labelme", "data.root=x", pasted]).data.classes] == ["background", label]


def test_a_loop_of_links_and_a_pipe_are_one_finding_each(tmp_path):
    (write_labelme(tmp_path) / "loop.json").symlink_to("loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    loop, pipe = AnnotationDataModule(str(tmp_path)).left_out
    assert re.search(r"cannot read .*loop.json: Too many levels of symbolic links", loop.message)
    assert re.search(r"cannot read .*pipe.json: it is no regular file", pipe.message)


def test_classes_merge_labels():
    found = ["man", "woman", "dog", "background", "void", "cat"]
    table = class_of_labels(found, {"person": ["man", "woman"], "dog": None, "void": "cat"}, None)
    assert table == {"man": "person", "woman": "person", "dog": "dog", "cat": "void"}
    assert class_names(table) == ["background", "person", "dog"]
    assert class_of_labels(found, ["dog"], "void")["man"] == "void"
    with pytest.raises(
        SegmentError, match=r"lacks labels that were found: cat, man, woman; add them, or set data.others"
    ):
        class_of_labels(found, ["dog"], None)
    with pytest.raises(SegmentError, match=r"gives the label 'dog' to 'a' and to 'b'"):
        class_of_labels(found, {"a": "dog", "b": ["dog"]}, "void")
    with pytest.raises(SegmentError, match=r"no object with a label"):
        class_of_labels(["void"], None, None)
    with pytest.raises(SegmentError, match=r"data.others=x"):
        class_of_labels(found, None, "x")
    with pytest.raises(SegmentError, match=r"expected a list"):
        class_of_labels(found, "dog", None)
    assert spellings(["Dog", "dog", "tv-monitor", "tv monitor", "cat"]) == [
        ["Dog", "dog"],
        ["tv monitor", "tv-monitor"],
    ]


def test_a_checkpoint_gets_the_same_classes(tmp_path):
    data = AnnotationDataModule(str(write_labelme(tmp_path)), classes={"animal": "dog"}, others="background")
    again = AnnotationDataModule(**{key: value for key, value in data.settings().items() if key != "bits"})
    assert again.classes.names == data.classes.names == ("background", "animal")
    assert again.class_of == data.class_of


def test_difficult_objects_are_void_or_a_class(tmp_path):
    for i in range(2):
        save_photo(tmp_path / f"{i}.jpg")
        dog, cat = shape("dog", BOX, flags={"difficult": True}), shape("cat", [[15, 5], [20, 5], [20, 9]])
        text = labelme(dog, cat, image=f"{i}.jpg")
        (tmp_path / f"{i}.json").write_text(text)
    for difficult, value in (("void", 255), ("class", 2)):
        data = AnnotationDataModule(str(tmp_path), difficult=difficult)
        assert (data.dataset("train")[0]["mask"] == value).sum() == 80
    with pytest.raises(SegmentError, match=r"expected void or class"):
        AnnotationDataModule(str(tmp_path), difficult="no")


def test_splits_come_from_lists_folders_or_the_files(tmp_path):
    lists, folders = write_labelme(tmp_path / "lists"), tmp_path / "folders"
    (lists / "train.txt").write_text("00\n03\n")
    (lists / "val.txt").write_text("01.jpg\n")
    assert split_ids(AnnotationDataModule(str(lists))) == {"train": ["00", "03"], "val": ["01"]}
    for split in ("train", "val"):
        write_labelme(folders / split, 2)
    assert split_ids(AnnotationDataModule(str(folders)))["val"] == ["val/00", "val/01"]


def test_no_split_is_made_from_images_of_others(tmp_path):
    for split in ("train", "test"):
        write_labelme(tmp_path / "folders" / "images" / split, 3)
    data = AnnotationDataModule(str(tmp_path / "folders"), val_fraction=0.5)
    assert len(data.samples("train")) == len(data.samples("test")) == 3
    with pytest.raises(SegmentError, match=r"^no split 'val' at .*: its annotated images have test, train$"):
        data.samples("val")


def test_one_split_that_a_file_states_is_kept_apart(tmp_path):
    pytest.importorskip("pycocotools")
    for part, names in (("default", "ab"), ("test", "ef")):
        images = [{"id": i, "file_name": f"{name}.jpg", "height": 20, "width": 30} for i, name in enumerate(names)]
        for name in names:
            save_photo(tmp_path / f"{name}.jpg")
        outline = {"image_id": 0, "category_id": 3, "segmentation": [[2, 3, 9, 3, 9, 9]], "iscrowd": 0}
        content = {"images": images, "categories": [{"id": 3, "name": "dog"}], "annotations": [outline]}
        (tmp_path / f"instances_{part}.json").write_text(json.dumps(content))
    data = AnnotationDataModule(str(tmp_path))
    assert [sample.id for sample in data.samples("test")] == ["e", "f"]
    for split in ("train", "val"):
        with pytest.raises(SegmentError, match=f"^no split '{split}' at .*: its annotated images have test$"):
            data.samples(split)


def test_coco_and_yolo_have_splits_of_their_own(tmp_path):
    pytest.importorskip("pycocotools")
    for split in ("train", "val"):
        save_photo(tmp_path / "coco" / split / f"{split}.jpg")
        content = {
            "images": [{"id": 1, "file_name": f"{split}/{split}.jpg", "height": 20, "width": 30}],
            "categories": [{"id": 3, "name": "dog"}],
            "annotations": [{"image_id": 1, "category_id": 3, "segmentation": [[2, 3, 9, 3, 9, 9]], "iscrowd": 0}],
        }
        (tmp_path / "coco" / f"instances_{split}2017.json").write_text(json.dumps(content))
        save_photo(tmp_path / "yolo" / "images" / split / f"{split}.jpg")
        labels = tmp_path / "yolo" / "labels" / split / f"{split}.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
        (tmp_path / "yolo" / "data.yaml").write_text("names: [dog]\n")
    for name in ("coco", "yolo"):
        data = AnnotationDataModule(str(tmp_path / name))
        assert (data.format, data.classes.names) == (name, ("background", "dog"))
        assert split_ids(data) == {split: [f"{split}/{split}"] for split in ("train", "val")}
        assert data.dataset("val")[0]["mask"].unique().tolist() == [0, 1]
    with pytest.raises(SegmentError, match=r"no split 'test' .*: its annotated images have train, val"):
        AnnotationDataModule(str(tmp_path / "coco")).samples("test")


def test_images_that_no_split_has_are_counted(tmp_path, capsys):
    for name in ("instances_train", "instances_val", "extra"):
        save_photo(tmp_path / f"{name}.jpg")
        content = {
            "images": [{"id": 1, "file_name": f"{name}.jpg"}],
            "categories": [{"id": 3, "name": "dog"}],
            "annotations": [{"image_id": 1, "category_id": 3, "segmentation": [[2, 3, 9, 3, 9, 9]]}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    data = AnnotationDataModule(str(tmp_path))
    line = "1 of 3 annotated images are in none of the splits train, val: extra"
    assert capsys.readouterr().out.splitlines()[1:] == [line]
    assert ("no split", line) in data.findings()[1]


def yolo(root, *places, entries=""):
    """Write an image with an object for each place, a folder and a name, and data.yaml."""
    for place in places:
        save_photo(root / f"{place}.jpg", size=(30 + len(place), 20))
        labels = root / f"{place.replace('images/', 'labels/')}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (root / "data.yaml").write_text(f"{entries}names: [dog]\n")
    return root


@pytest.mark.parametrize(
    ("folders", "entries"),
    [
        (["images/train2017", "images/val2017"], ""),
        (["train/images", "valid/images"], "train: ../train/images\nval: ../valid/images\n"),
        (["train/images", "valid/images"], ""),
        (["images/one", "images/two"], "path: ../data/all\ntrain: images/one\nval: [images/two]\ntest:\n"),
        (["images/one", "images/two"], "train: /home/ann/images/one\nvalid: /home/ann/images/two\n"),
        (["images/one", "images/two"], "path: images\ntrain: one\nval: two\n"),
        (["set/Training", "set/val_images-2"], ""),
    ],
)
def test_yolo_has_the_splits_of_its_yaml_or_folders(tmp_path, folders, entries, capsys):
    root = yolo(tmp_path, *(f"{folder}/{name}" for folder in folders for name in "abc"), entries=entries)
    yolo(root, "test/images/a", entries=entries)  # no entry names it
    data = AnnotationDataModule(str(root), "yolo")
    assert [sample.id for sample in data.samples("test")] == ["test/a"]
    for split, folder in zip(("train", "val", "valid"), [*folders, folders[1]], strict=True):
        assert [sample.image.relative_to(root).as_posix() for sample in data.samples(split)] == [
            f"{folder}/{name}.jpg" for name in "abc"
        ]
    assert capsys.readouterr().out.count("\n") == 1


def test_yolo_has_the_splits_of_the_lists_in_its_yaml(tmp_path, capsys):
    entries = "train: auto_train.txt\nval: auto_val.txt\ntest: test/images\n"
    root = yolo(tmp_path, "images/a", "images/b", "images/c", "images/d", entries=entries)
    (root / "auto_train.txt").write_text(
        "./images/a.jpg\n/home/ann/images/b.jpg\n./images/c.jpg"
    )  # b: another computer
    (root / "auto_val.txt").write_text("data\\images\\c.jpg\n./images/gone.jpg\n")
    assert split_ids(AnnotationDataModule(str(root))) == {"train": ["a", "b"], "val": ["c"]}
    lines = [line.replace(f"{root}", "DIR") for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        "DIR/data.yaml: val: auto_val.txt: 1 images are not found: ./images/gone.jpg",
        "DIR/data.yaml: test: test/images: no folder or list of images below DIR",
        "DIR/data.yaml: train: auto_train.txt: 1 images are in another split, too",
        "1 of 4 annotated images are in none of the splits train, val: d",
    ]


@pytest.mark.parametrize("folders", [["images/train", "images/val"], ["Images/train", "Images/validation"]])
def test_labelme_has_the_splits_of_its_folders(tmp_path, folders):
    for folder in folders:
        write_labelme(tmp_path / folder, 3)
    data = AnnotationDataModule(str(tmp_path))
    assert [len(data.samples(split)) for split in ("train", "val")] == [3, 3]
    assert all(folders[1] in sample.id for sample in data.samples("val"))
    with pytest.raises(SegmentError, match=r"no split 'test' .*: its annotated images have train, val$"):
        data.samples("test")


def cvat(root, colours=True):
    """Write CVAT's export with a background that is not black."""
    masks = np.zeros((20, 30), np.uint8)
    masks[3:9, 4:20] = 1
    table = np.array([(10, 20, 30), (200, 0, 0)], np.uint8)
    for i in range(4):
        save_photo(root / "photos" / f"{i}.jpg")
        for name in ("SegmentationClass", "SegmentationObject"):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(table[masks]).save(root / name / f"{i}.png")
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\ndog:200,0,0::\nbackground:10,20,30::\n")
    return root


def test_a_zip_that_is_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "export.zip")
    with pytest.raises(SegmentError, match=r"no labelmap\.txt below"):
        AnnotationDataModule(str(tmp_path), format="cvat")


def test_cvat_unpacked_or_not(tmp_path):
    root = cvat(tmp_path / "a")
    masks = [AnnotationDataModule(str(root)).dataset("train")[0]["mask"]]
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root))
    data = AnnotationDataModule(str(tmp_path / "export.zip"))
    assert (data.format, data.classes.names) == ("cvat", ("background", "dog"))
    masks.append(data.dataset("train")[0]["mask"])
    assert torch.equal(*masks)
    assert masks[0].sum() == 6 * 16
    (root / "labelmap.txt").unlink()
    (root / "annotations.xml").write_text("<annotations/>")
    shutil.rmtree(root / "SegmentationClass")
    for name in ("cvat", "labelme", None):
        with pytest.raises(SegmentError, match=r"is CVAT's own XML, which is not read: export the task as"):
            AnnotationDataModule(str(root), name)


def test_broken_files_are_left_out_with_a_line_each(tmp_path, capsys):
    root = write_labelme(tmp_path)
    (root / "00.json").write_text("{")
    (root / "01.json").write_text(labelme(image="../gone.jpg"))
    data = AnnotationDataModule(str(root))
    assert len(data.annotations) == 4
    data.setup("fit")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["classes found", "left out", "left out"]
    for path in root.glob("*.json"):
        path.write_text("{")
    with pytest.raises(SegmentError, match=r"no annotation below .* can be read: cannot read .*00.json"):
        AnnotationDataModule(str(root), "labelme")
    with pytest.raises(SegmentError, match=r"no annotations below .*: expected files of LabelMe"):
        AnnotationDataModule(str(root))
    with pytest.raises(SegmentError, match=r"expected a folder"):
        AnnotationDataModule(str(root / "gone"))
    with pytest.raises(SegmentError, match=r"data.format=x"):
        AnnotationDataModule(str(root), "x")


BOXES = """<annotation><filename>{}.jpg</filename><object><name>dog</name><bndbox><xmin>3</xmin><ymin>4</ymin>
<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"""


def test_boxes_without_outlines_are_refused_or_counted(tmp_path, capsys):
    for name in "ab":
        save_photo(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.xml").write_text(BOXES.format(name))
    with pytest.raises(SegmentError, match=r"2 of 2 objects below .* have no outline, such as boxes, which are for"):
        AnnotationDataModule(str(tmp_path))
    write_labelme(tmp_path, 2)
    data = AnnotationDataModule(str(tmp_path))
    line = f"2 of 5 objects below {tmp_path} have no outline, such as boxes: they have no pixels"
    assert capsys.readouterr().out.splitlines()[1:] == [line]
    assert ("no outline", line) in data.findings()[1]


def test_what_segment_check_reports(tmp_path):
    root = write_labelme(tmp_path, 8)
    save_photo(root / "new.jpg")
    odd = [shape("Dog", BOX), shape("dog", BOX[:2]), shape("dog", [[90, 90], [95, 90], [95, 95]])]
    odd.append(shape("dog", [[-9, 0], [5, 0], [5, 5]], flags={"difficult": True}))
    (root / "02.json").write_text(labelme(*odd, image="02.jpg", imageWidth=32))
    (root / "03.json").write_text(labelme(image="03.jpg", imageWidth=33))
    (root / "04.json").write_text(labelme(shape("dog", BOX), image="04.jpg", imageWidth=99))
    (root / "05.json").write_text("{")
    report = examine(AnnotationDataModule(str(root)), ["train", "val"])
    notes = [(kind, message.replace(f"{root}/", "")) for kind, message in report.notes]
    assert ("unclosed", "02.json: without pixels, or with too few points: dog") in notes
    assert ("outside", "02.json: outside the image: dog") in notes
    assert ("outside", "02.json: 1 objects reach beyond the image, and are cut") in notes
    assert ("spelling", "one class? 'Dog' (1), 'dog' (6); data.classes={Dog:[Dog,dog]} merges them") in notes
    assert ("no annotation", "2 images have none and are not used: 05, new") in notes
    assert ("no object", "1 images have no object and are all background: 03") in notes
    assert [problem.kind for problem in report.problems] == ["annotation", "frame"]
    assert report.counts == {"label": {"person": 4, "dog": 6, "Dog": 1}, "flag": {"difficult": 1}}
    merging = AnnotationDataModule(str(root), classes={"dog": ["dog", "Dog"], "person": "person"})
    assert not [note for note in examine(merging, ["train", "val"]).notes if note.kind == "spelling"]


@pytest.mark.slow
def test_every_format_has_an_option(tmp_path):
    for name in ("labelme", "coco", "cvat", "labelstudio", "yolo"):
        config = load_config([f"data={name}", f"data.root={tmp_path}"])
        assert config.data.format == name
        with pytest.raises(SegmentError, match=r"no annotation|no labelmap"):
            instantiate(config.data)
