"""ADE20K's full release: names, parts and attributes at known pixels, and types that wobble."""

import json

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.ade20k_full import ADE20KFullDataModule, Selection, read_objects
from segment.data.doctor import examine
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared

CODES = {"car": 401, "wheel": 3035, "person": 1831, "wall": 2978, "rim": 2200}
BOXES = {
    0: (0, 0, 40, 30), 1: (5, 5, 20, 15), 4: (25, 5, 38, 15),
    7: (6, 11, 10, 15), 9: (7, 12, 9, 14), 12: (22, 18, 30, 29),
}  # fmt: skip
"""Left, top, right and bottom of each object, by id; ids have gaps."""


def entry(number, name, level=0, **other):
    left, top, right, bottom = BOXES[number]
    x, y = [left, right - 1, right - 1, left], [top, top, bottom - 1, bottom - 1]
    parts = {"part_level": level, "hasparts": [], "ispartof": other.pop("whole", [])}
    base = {"id": number, "name": name, "name_ndx": CODES[name.split(",")[0]], "raw_name": name, "attributes": []}
    return {**base, "occluded": "no", "crop": "0", "parts": parts, "polygon": {"x": x, "y": y}, **other}


def write(root, split="training", encoding="utf-8", objects=None):
    """Write a wall with two cars, of which the first has a wheel with a rim, and a person."""
    objects = objects or [
        entry(0, "wall"),
        entry(1, "car, auto", attributes="parked, red", crop="1"),
        entry(4, "car, auto", occluded="yes", attributes=["parked"]),
        entry(7, "wheel", "1", whole=1),
        entry(9, "rim", 2, whole=[7]),
        entry(12, "person", attributes=["walking"], occluded=[], raw_name="pérson"),
    ]
    folder = root / "ADE20K_2021_17_01" / "images" / "ADE" / split / "urban" / "street"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"ADE_{split[:-3]}_00000001"
    for level, suffix in enumerate(("_seg", "_parts_1", "_parts_2")):
        mask = np.zeros((30, 40, 3), np.uint8)
        for i, item in enumerate(one for one in objects if int(one["parts"]["part_level"]) == level):
            left, top, right, bottom = BOXES[item["id"]]
            code = item["name_ndx"]
            mask[top:bottom, left:right] = (code // 256 * 10, code % 256, 50 * i + 5)
        Image.fromarray(mask).save(f"{stem}{suffix}.png")
    noise = np.random.default_rng(len(split)).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(noise).save(f"{stem}.jpg")
    text = json.dumps({"annotation": {"object": objects}}, ensure_ascii=False)
    stem.with_suffix(".json").write_bytes(text.encode(encoding))
    return stem


def mask(root, classes, **options):
    data = ADE20KFullDataModule(str(root), classes, **options)
    found = data.dataset("train")[0]["mask"].numpy()
    return {point: found[point[1], point[0]] for point in ((1, 1), (6, 6), (26, 6), (6, 11), (7, 12), (23, 19))}


WALL, CAR, HIDDEN_CAR, WHEEL, RIM, PERSON = (1, 1), (6, 6), (26, 6), (6, 11), (7, 12), (23, 19)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_parts_and_attributes(tmp_path, encoding):
    write(tmp_path, encoding=encoding)
    found = mask(tmp_path, ["wall", "auto", "car/wheel", "person:walking"])
    assert found == {WALL: 0, CAR: 1, HIDDEN_CAR: 1, WHEEL: 2, RIM: 2, PERSON: 3}
    found = mask(tmp_path, ["car", "car/wheel/rim", "car:red"], others="background")
    assert found == {WALL: 0, CAR: 3, HIDDEN_CAR: 1, WHEEL: 3, RIM: 2, PERSON: 0}
    found = mask(tmp_path, {"vehicle": ["car"], "hidden": ["car:occluded"], "cut": "car:crop"})
    assert found == {WALL: 255, CAR: 2, HIDDEN_CAR: 1, WHEEL: 2, RIM: 2, PERSON: 255}
    found = mask(tmp_path, ["car", "person:sitting"], ignore=["occluded"], others="background")
    assert found == {WALL: 0, CAR: 1, HIDDEN_CAR: 255, WHEEL: 1, RIM: 1, PERSON: 0}
    assert mask(tmp_path, ["wheel", "wall"])[WHEEL] == 255  # a part is named with its whole


def test_synonyms_of_stuff_are_stuff():
    classes = ["edifice", "building", "Flooring", "car", "auto", "car/wall", "moving staircase"]
    found = ADE20KFullDataModule(".", classes).classes
    assert found.stuff == {"edifice", "building", "Flooring", "moving staircase"}


def test_an_instance_mask_is_used_where_it_is(tmp_path):
    stem = write(tmp_path)
    objects = json.loads(stem.with_suffix(".json").read_text())["annotation"]["object"]
    for i, box in ((1, BOXES[4]), (2, BOXES[1])):  # the outlines lie: each car's mask is the other's
        objects[i]["instance_mask"] = f"{stem.name}/instance_{i}.png"
        own = np.zeros((30, 40), np.uint8)
        own[box[1] : box[3], box[0] : box[2]] = 255
        (stem.parent / stem.name).mkdir(exist_ok=True)
        Image.fromarray(own).save(stem.parent / stem.name / f"instance_{i}.png")
    stem.with_suffix(".json").write_text(json.dumps({"annotation": {"object": objects}}))
    found = mask(tmp_path, ["car", "car:occluded"])
    assert (found[CAR], found[HIDDEN_CAR]) == (1, 0)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "../../etc/passwd"])
def test_an_instance_mask_that_no_file_can_be_is_not_used(tmp_path, name):
    stem = write(tmp_path)
    content = json.loads(stem.with_suffix(".json").read_text())
    content["annotation"]["object"][1]["instance_mask"] = name
    stem.with_suffix(".json").write_text(json.dumps(content))
    found = mask(tmp_path, ["car", "car:occluded"])
    assert (found[CAR], found[HIDDEN_CAR]) == (0, 1)


def test_check_counts_names_parts_and_attributes(tmp_path):
    write(tmp_path)
    write(tmp_path, "validation")
    report = examine(ADE20KFullDataModule(str(tmp_path), ["wall", "car", "tree"]), ["train", "val"])
    assert report.counts == {
        "name": {"wall": 2, "car": 4, "person": 2},
        "part": {"car/wheel": 2, "car/wheel/rim": 2},
        "attribute": {"parked": 4, "red": 2, "crop": 2, "occluded": 2, "walking": 2},
    }
    assert [note.message for note in report.notes if note.kind == "no object"] == ["no object is of the class tree"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name_ndx": None}, "expected a whole number, got None"),
        ({"polygon": {"x": [1, float("nan")], "y": [1, 2]}}, "a polygon: expected pairs of finite numbers"),
        ({"polygon": 3}, "a polygon is 3: expected dict"),
        ({"id": "x"}, "expected a whole number, got 'x'"),
    ],
)
def test_broken_files_are_one_line(tmp_path, change, reason):
    stem = write(tmp_path)
    content = json.loads(stem.with_suffix(".json").read_text())
    content["annotation"]["object"][1] |= change
    stem.with_suffix(".json").write_text(json.dumps(content))
    with pytest.raises(SegmentError, match=reason):
        mask(tmp_path, ["wall", "car"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"classes": None}, "data.classes is missing"),
        ({"classes": ["car"]}, "names 1 classes; expected 2 to 254"),
        ({"classes": [f"n{i}" for i in range(255)]}, "names 255 classes"),
        ({"classes": ["car", "car/"]}, "'car/' is no NAME"),
        ({"classes": ["car", "car:"]}, "'car:' is no NAME"),
        ({"classes": ["car", "wall"], "others": "x"}, "expected void or background"),
    ],
)
def test_mistakes(options, reason):
    with pytest.raises(SegmentError, match=reason):
        ADE20KFullDataModule("nowhere", **options)
    with pytest.raises(SegmentError, match=r"no data set at data.root=nowhere"):
        ADE20KFullDataModule("nowhere", ["car", "wall"]).samples("train")


@needs_shared
def test_the_real_sample():
    root = SHARED / "data" / "ade20k"
    data = ADE20KFullDataModule(str(root), ["sky", "car", "car/wheel", "person:walking", "person:standing", "road"])
    (sample,) = data.samples("train")
    found = data.dataset("train").load(0)[1].numpy()
    objects = read_objects(sample.image.with_suffix(".json"))
    assert len(objects) == 70
    pixels = np.array(Image.open(sample.mask)).astype(int)
    codes = pixels[..., 0] // 10 * 256 + pixels[..., 1]
    assert np.array_equal(found == 0, codes == 2420)
    assert ((found == 1) | (found == 2))[codes == 401].all()
    walking = [item for item in objects.values() if Selection.parse("person:walking").matches(item, objects)]
    assert walking
    for item in walking:
        x, y = np.round(item.outline.mean(0)).astype(int)
        assert found[y, x] in {3, 255} or codes[y, x] != 1831
