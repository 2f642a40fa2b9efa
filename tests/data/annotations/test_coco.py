"""COCO's polygons and run lengths, drawn as pycocotools draws them."""

import json
import re

import numpy as np
import pytest

from segment.data.annotations.coco import decode_counts, read_coco
from segment.data.annotations.objects import Annotation
from segment.data.datasets.annotation_formats import read_annotations
from segment.data.headers import image_header
from segment.data.pairs import Finding, Remark
from segment.errors import SegmentError
from tests.data.annotations.conftest import save_photo

coco = pytest.importorskip("pycocotools.mask")
SQUARE = [2, 3, 10, 3, 10, 13, 2, 13]


def item(segmentation, category=7, image=1, **other):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **other}


def content(*items, **other):
    images = [{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}]
    categories = [{"id": 7, "name": "dog"}, {"id": 90, "name": "cat"}]
    return {"images": images, "categories": categories, "annotations": items, **other}


def read(folder, value, name="coco.json"):
    path = folder().root / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return [*read_coco(path, folder())]


def one(folder, *items):
    found = read(folder, content(*items))[-1]
    assert isinstance(found, Annotation), found
    return found, found.object_map(image_header(found.image))


def test_polygons_equal_pycocotools(folder):
    random = np.random.default_rng(0)
    for _ in range(30):
        polygons = [(random.random(2 * random.integers(3, 8)) * 40 - 5).tolist() for _ in range(2)]
        expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 20, 30)))
        assert np.array_equal(one(folder, item(polygons))[1], expected)


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_both_kinds(folder, compressed):
    for seed in range(20):
        mask = np.random.default_rng(seed).random((20, 30)) < (0.02, 0.5, 1.0, 0.0)[seed % 4]
        code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        counts = code["counts"].decode()
        own = {"size": [20, 30], "counts": counts if compressed else decode_counts(counts)}
        assert np.array_equal(one(folder, item(own))[1] > 0, mask)


def test_small_objects_are_drawn_over_large_ones_and_crowds_are_flagged(folder):
    large = [0, 0, 25, 0, 25, 18, 0, 18]
    found, drawn = one(folder, item([SQUARE], 90), item([large]), item([[12, 3, 20, 3, 20, 9]], iscrowd=1))
    assert found.labels() == ["dog", "cat", "dog"]
    assert [item.flags for item in found.objects] == [frozenset(), frozenset(), {"crowd"}]
    assert np.bincount(drawn.ravel())[2] == 80


@pytest.mark.parametrize(("crowds", "flags"), [([1, 1], []), ([1, 0], ["crowd"])])
def test_a_file_of_crowds_alone_has_none(folder, crowds, flags):
    note, found = read(folder, content(*(item([SQUARE], iscrowd=one) for one in crowds)))
    assert note.kind == "crowd"
    assert "1 for all objects" in note.message or "1 of 2 objects are crowds" in note.message
    assert [flag for one in found.objects for flag in one.flags] == flags


def test_odd_files_are_read(folder):
    found, drawn = one(folder, item(SQUARE, image="1", category="7"), item([]), item([[1, 2, 3, 4]]), item(None))
    assert drawn.sum() == 80
    assert sum(item.is_empty for item in found.objects) == 3
    far = [-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]
    assert (one(folder, item([far]))[1] == 1).all()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 2, float("nan"), 4, 5, 6]], "expected pairs of finite numbers"),
        ([[1, 2, 1e400, 4, 5, 6]], "expected pairs of finite numbers"),
        ([["1", 2, 3, 4, 5, 6]], "expected pairs"),
        ("abc", "a segmentation is 'abc': expected list"),
        ({"size": [20, 31], "counts": [620]}, r"an RLE has the size \[20, 31\]; expected that of its image"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "an RLE has the size"),
        ({"size": None, "counts": [600]}, "size of an RLE is None: expected list"),
        ({"size": [20, 30], "counts": [599]}, "do not add up to 30x20 pixels"),
        ({"size": [20, 30], "counts": [700, -100]}, "do not add up"),
        ({"size": [20, 30], "counts": [10**30]}, "do not add up"),
        ({"size": [20, 30], "counts": "\u1234"}, "do not add up"),
        ({"size": [20, 30], "counts": "oooooooooooooooooooo"}, "do not add up"),
        ({"size": [20, 30]}, "do not add up"),
    ],
)
def test_a_broken_object_leaves_out_its_image_alone(folder, segmentation, reason):
    save_photo(folder().root / "b.jpg")
    value = content(item(segmentation), item([SQUARE], image=2))
    value["images"].append({"id": 2, "file_name": "b.jpg", "height": 20, "width": 30})
    first, second = read(folder, value)
    assert isinstance(first, Finding)
    assert re.search(reason, first.message)
    assert second.id == "b"


def test_coordinates_near_the_largest_number_keep_the_order(folder):
    """An area of inf - inf would be NaN, which no order can hold, and a warning of numpy."""
    far = [-1e308, -1e308, 1e308, -1e308, 1e308, 1e308]
    assert one(folder, item([SQUARE], 90), item([far]))[0].labels() == ["dog", "cat"]


def test_run_lengths_of_another_size_than_the_image_are_not_unpacked(folder, monkeypatch):
    monkeypatch.setattr("segment.data.annotations.coco.np.repeat", None)
    value = content(item({"size": [2**14, 2**14], "counts": [2**28]}))
    value["images"][0].update(height=2**14, width=2**14)
    assert "is made for 16384x16384 pixels, but its image" in read(folder, value)[0].message
    del value["images"][0]["height"], value["images"][0]["width"]
    assert "expected that of its image" in read(folder, value)[0].message


def test_entries_that_are_lost_or_ambiguous_are_named(folder):
    save_photo(folder().root / "b.jpg")
    value = content(item([SQUARE]), 3, None)
    lost, found = read(folder, value)
    assert "2 of 3 annotations are no objects in braces" in lost.message
    assert found.labels() == ["dog"]
    value = content(item([SQUARE]))
    value["images"].append({"id": 1, "file_name": "b.jpg"})
    assert ["has the id 1, as another image has" in one.message for one in read(folder, value)] == [True, True]
    value = content(item([SQUARE]))
    value["categories"].append({"id": 7, "name": "cow"})
    with pytest.raises(SegmentError, match="the categories 'dog' and 'cow' have one id, 7"):
        read(folder, value)
    value["categories"] = [{"id": 7, "name": "\ud800"}]
    assert "a category's name is" in read(folder, value)[0].message


def test_lost_annotations_categories_and_images_are_named(folder):
    value = content(item([SQUARE], 8), item([SQUARE], image=9))
    value["images"].append({"id": 3, "file_name": "gone.jpg"})
    messages = [found.message for found in read(folder, value)]
    assert [message.partition("coco.json")[2].replace(str(folder().root), "") for message in messages] == [
        ": a.jpg: category_id 8 is in no category",
        ": no such image below : gone.jpg",
        " has 1 annotations of images that it does not list",
    ]


@pytest.mark.parametrize("caption", [{"image_id": 1, "caption": "a dog"}, {"image_id": 1, "bbox": [1, 2, 3, 4]}, None])
def test_a_file_without_outlines_is_one_remark(folder, caption):
    value = content(caption) if caption else {"images": content()["images"]}
    (found,) = read(folder, value)
    assert isinstance(found, Remark)
    assert f"is left out: none of its {len(value.get('annotations', []))} annotations has an outline" in found.message


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("second", ["images", "keypoints", "same", "captions"])
def test_the_file_with_all_outlines_wins_and_the_others_are_a_line_each(folder, order, second):
    """COCO's and datumaro's folders have several files on the same images."""
    save_photo(folder().root / "b.jpg")
    objects = content(item([SQUARE]), item([SQUARE], 90), item([SQUARE], image=2))
    objects["images"].append({"id": 2, "file_name": "b.jpg"})
    others = {
        "images": [],
        "keypoints": [item([SQUARE], keypoints=[0])],
        "same": objects["annotations"],
        "captions": [{"image_id": 1, "caption": "a"}],
    }
    for name, value in zip(order, (objects, {**objects, "annotations": others[second]}), strict=True):
        (folder().root / f"{name}.json").write_text(json.dumps(value))
    *remarks, first, last = sorted(
        read_annotations(folder(), "coco"), key=lambda one: ("", "") if isinstance(one, Finding) else (one.id,)
    )
    assert (first.labels(), last.labels()) == (["dog", "cat"], ["dog"])
    assert [type(one) for one in remarks] == [Remark] * (second in {"keypoints", "captions"})


def test_two_files_on_the_same_images_are_one_finding(folder):
    save_photo(folder().root / "b.jpg")
    for name, category in (("a", 7), ("b", 90)):
        value = content(item([SQUARE], category), item([SQUARE], category, image=2))
        value["images"].append({"id": 2, "file_name": "b.jpg"})
        (folder().root / f"{name}.json").write_text(json.dumps(value))
    (finding,) = [one for one in read_annotations(folder(), "coco") if isinstance(one, Finding)]
    assert re.search(r"a.json and .*b.json both annotate 2 images, such as .*a.jpg: the first is read", finding.message)


@pytest.mark.parametrize(("name", "split"), [("instances_val2017.json", "val"), ("coco.json", None)])
def test_the_split_is_in_the_name(folder, name, split):
    assert read(folder, content(), name)[0].split == split
