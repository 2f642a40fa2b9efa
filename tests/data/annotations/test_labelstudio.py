"""Label Studio's tasks: shapes in per cent, brush strokes, names of images, and which annotation counts."""

import itertools
import json
import re

import numpy as np
import pytest

from segment.data.annotations.labelstudio import decode_brush, is_labelstudio, read_labelstudio
from segment.data.annotations.objects import Annotation
from segment.data.headers import image_header
from segment.data.pairs import Remark
from segment.errors import SegmentError
from tests.data.annotations.conftest import save_photo


def result(kind, value, labels=("dog",), **other):
    return {
        "type": kind,
        "to_name": "image",
        "original_width": 30,
        "original_height": 20,
        "value": {**value, kind: labels},
        **other,
    }


def task(*results, image="/data/upload/1/0123abcd-a.jpg", **other):
    return {"id": 5, "data": {"image": image}, "annotations": [{"result": results, "was_cancelled": False}], **other}


POLYGON = result("polygonlabels", {"points": [[10, 10], [50, 10], [50, 50]]})


def read(folder, *tasks):
    path = folder().root / "export.json"
    path.write_text(tasks[0] if isinstance(tasks[0], str) else json.dumps(tasks))
    return [*read_labelstudio(path, folder())]


def drawn(folder, *results):
    (found,) = read(folder, task(*results))
    assert isinstance(found, Annotation), found
    return found, found.object_map(image_header(found.image))


def test_shapes(folder):
    rectangle = result("rectanglelabels", {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0})
    assert (drawn(folder, rectangle)[1] > 0).sum() == 13 * 11  # as PIL draws the corners (3,2), (15,2), (15,12), (3,12)
    turned = result("rectanglelabels", {"x": 50, "y": 10, "width": 40, "height": 25, "rotation": 90})
    assert np.argwhere(drawn(folder, turned)[1]).min(0).tolist() == [2, 10]  # around its corner, clockwise, in pixels
    assert np.argwhere(drawn(folder, turned)[1]).max(0).tolist() == [14, 15]
    ellipse = result("ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 0})
    assert (drawn(folder, ellipse)[1] > 0).sum() == pytest.approx(np.pi * 6.5 * 6.5, rel=0.1)
    found, mask = drawn(folder, POLYGON, {"type": "choices", "value": {"choices": ["x"]}})
    assert (found.labels(), found.size, bool(mask.any())) == (["dog"], (20, 30), True)
    assert drawn(folder, result("polygonlabels", POLYGON["value"], ["dog", "pet"]))[0].labels() == ["dog", "pet"]


def encode_brush(values, word=8, sizes=(3, 4, 8, 16)):
    """Write values as Label Studio does: equal neighbours as a run, others one by one."""
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    starts = [0, *np.flatnonzero(np.diff(values)) + 1, len(values)]
    for start, end in itertools.pairwise(starts):
        run, size = (1, 3) if end - start > 8 else (0, 0)
        bits += f"{run}{size:02b}{end - start - 1:0{sizes[size]}b}" + f"{values[start]:0{word}b}" * (
            1 if run else end - start
        )
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_brush_strokes(folder):
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 4:20] = 255
    mask[5, 5:25:2] = 7
    rgba = np.repeat(mask.ravel(), 4)
    assert np.array_equal(decode_brush(np.array(encode_brush(rgba), np.uint8), len(rgba)), rgba)
    brush = result("brushlabels", {"format": "rle", "rle": encode_brush(rgba)})
    assert np.array_equal(drawn(folder, brush)[1] > 0, mask > 0)


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/1/0123abcd-a.jpg",
        "/data/local-files/?d=photos%2Fa.jpg",
        "s3://bucket/x/a.jpg",
        "http://h/a.jpg?x=1",
        "a.jpg",
    ],
)
def test_the_image_is_found_by_its_name_alone(folder, image):
    assert read(folder, task(POLYGON, image=image))[0].id == "a"


def test_a_name_that_looks_like_an_upload_is_tried_as_it_is(folder):
    save_photo(folder().root / "0123abcd-a.jpg")
    assert read(folder, task(POLYGON))[0].id == "0123abcd-a"


def test_an_uploaded_name_lost_its_spaces_and_brackets(folder):
    """Label Studio keeps letters, digits, - _ and . of a file's name, and writes _ for a space."""
    one = task(POLYGON, image="/data/upload/1/0123abcd-IMG_1_%C3%BC.jpg")
    save_photo(folder().root / "IMG 1 (ü).jpg")
    assert read(folder, one)[0].id == "IMG 1 (ü)"
    save_photo(folder().root / "IMG_1_ü.jpg")
    assert "may be 'IMG 1 (ü).jpg' or 'IMG_1_ü.jpg': rename" in read(folder, one)[0].message


@pytest.mark.parametrize(
    "value",
    [
        {"points": [[10, 10], [50, 10], [50, 50]]},
        {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0},
        {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 0},
    ],
)
def test_labels_beside_a_shape_are_read_and_regions_without_are_counted(folder, value):
    """The tags <Labels> and <Polygon> give two results for a region."""
    shape = {**result("polygon", value), "value": value}
    found, mask = drawn(folder, shape, result("labels", value))
    assert (found.labels(), bool(mask.any())) == (["dog"], True)
    text = {"type": "textarea", "value": {**value, "text": ["old"]}}
    [found] = read(folder, task(shape, result("labels", value), text))  # a text of the region is no region
    assert found.labels() == ["dog"]
    other = result("polygonlabels", {"points": [[1, 1], [9, 1], [9, 9]]})
    found, remark = read(folder, task(shape, shape, other, {**POLYGON, "value": {**value, "polygonlabels": []}}))
    assert found.labels() == ["dog"]
    assert isinstance(remark, Remark)
    assert remark.message.endswith("export.json: 3 regions have no label and are background: task 5")


def test_json_min_is_named(folder):
    value = {**POLYGON["value"], "original_width": 30, "original_height": 20}
    task = {"id": 1, "image": "/data/upload/1/0123abcd-a.jpg", "label": [value], "annotator": 1}
    assert [is_labelstudio(one) for one in ([task], [5], [[]], [{}], {}, [{"label": "data"}])] == [True] + [False] * 5
    with pytest.raises(SegmentError, match=r"export.json is of the kind JSON-MIN: export as JSON, not JSON-MIN"):
        read(folder, task)


def test_the_last_annotation_that_was_not_cancelled_counts(folder):
    results = [[POLYGON], [result("polygonlabels", POLYGON["value"], ["cat"])], []]
    done = [{"result": one, "was_cancelled": i == 2} for i, one in enumerate(results)]
    assert read(folder, {**task(), "annotations": done})[0].labels() == ["cat"]
    assert read(folder, {**task(), "annotations": done[2:]}, task(POLYGON)) != []
    assert read(folder, {**task(), "annotations": []}) == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (3, "a task is 3: expected dict"),
        (task(POLYGON, data=None), "data is None: expected dict"),
        (task(POLYGON, image=None), "names no image"),
        (task(POLYGON, image="/etc/passwd"), "no such image"),
        (task(POLYGON, image="http://[bad/a.jpg"), "'http://.bad/a.jpg' has no readable address: Invalid IPv6 URL"),
        (task(3), "a result is 3"),
        (task({**POLYGON, "to_name": ["x"]}, image=None), "names no image"),
        (task({**POLYGON, "original_width": 10**9}), "declares"),
        (task({**POLYGON, "original_width": None, "original_height": None}), "lacks original_width"),
        (task(POLYGON, {**POLYGON, "original_width": 31}), "different sizes"),
        (task(result("polygonlabels", {"points": [[1, None]]})), "expected pairs"),
        (task(result("rectanglelabels", {"x": 1, "y": 1, "width": float("nan"), "height": 1})), "expected pairs"),
        (task(result("brushlabels", {"format": "rle", "rle": [1, 2, 3]})), "do not add up"),
        (task(result("brushlabels", {"format": "rle", "rle": [0, 0, 9, 96, 56, 0, 0, 0]})), "do not add up"),
        (task(result("brushlabels", {"format": "rle", "rle": [300, "x"]})), "do not add up"),
        (task(POLYGON, annotations=["x"]), "an annotation is 'x': expected dict"),
        (task({**POLYGON, "value": 3}), "a result of the type polygonlabels has no polygonlabels in its value"),
        (task({**POLYGON, "value": {"points": [[1, 1], [9, 1], [9, 9]]}}), "has no polygonlabels"),
        (
            task({**result("brushlabels", {"format": "rle", "rle": [1]}), "original_width": 99}),
            "is made for 99x20 pixels, but its image",
        ),
        (task(result("brushlabels", {"format": "rle", "rle": "abc"})), "rle of brush strokes is 'abc': expected list"),
        (task(result("brushlabels", {"format": "png"})), "have the format 'png'; expected rle"),
    ],
)
def test_a_broken_task_is_left_out_alone(folder, broken, reason):
    first, second = read(folder, broken, task(POLYGON))
    assert re.search(reason, first.message)
    assert second.id == "a"
