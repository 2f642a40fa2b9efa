"""LabelMe's JSON and MIT's XML: fields that are missing, odd or broken."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segment.data.annotations.labelme import read_labelme, read_labelme_xml
from segment.data.annotations.sources import ImageFolder, read_label
from segment.data.headers import image_header
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared
from tests.data.annotations.conftest import BOX, labelme, shape


def read(folder, text, name="a.json"):
    path = folder().root / name
    path.write_text(text)
    return read_labelme(path, folder())


def test_fields(folder):
    shapes = [shape("dog", BOX, None), shape(" _background_", BOX, flags={"difficult": True}), shape("__ignore__", BOX)]
    del shapes[0]["shape_type"]
    found = read(folder, labelme(*shapes, image="C:\\photos\\a.jpg", other=[1]))
    assert (found.id, found.size, found.labels()) == ("a", (20, 30), ["dog", "background", "void"])
    assert [item.flags for item in found.objects] == [frozenset(), {"difficult"}, frozenset()]
    assert read(folder, labelme(imageHeight=None, imageWidth=None)).size is None
    (folder().root / "b.jpg").write_bytes((folder().root / "a.jpg").read_bytes())
    assert read(folder, labelme(image="gone.jpg").replace("gone.jpg", ""), "b.json").image.name == "b.jpg"


def test_shapes_of_one_group_and_label_are_one_object(folder):
    second = [[20, 3], [25, 3], [25, 12]]
    shapes = [shape("dog", BOX, group_id=3), shape("cat", second, group_id=3), shape("dog", second, group_id=3)]
    found = read(folder, labelme(*shapes, shape("dog", BOX, group_id=4)))
    assert np.unique(found.object_map(image_header(found.image))).tolist() == [0, 1, 4]
    assert found.labels() == ["dog", "cat", "dog"]
    found = read(folder, labelme(*shapes[::2], shape("dog", [[20, 15], [25, 15], [25, 18]])))
    assert np.unique(found.object_map(image_header(found.image))).tolist() == [0, 1, 3]


def png(mask):
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_a_mask_is_a_png_of_its_box(folder):
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    found = read(folder, labelme(shape("dog", [[3, 4], [9, 8]], "mask", mask=png(mask))))
    expected = np.zeros((20, 30), bool)
    expected[4:9, 3:10] = mask
    assert np.array_equal(found.object_map(image_header(found.image)) > 0, expected)
    for points, text, reason in (
        ([[3, 4], [10, 8]], png(mask), "does not fit its corners"),
        ([[3, 4], [9, 8]], "*", "is no base64"),
        ([[3, 4], [9, 8]], "AAAA", "is no PNG"),
        ([[3, 4], [9, 8]], None, "is None: expected str"),
    ):
        with pytest.raises(SegmentError, match=reason):
            read(folder, labelme(shape("dog", points, "mask", mask=text)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot read .*a.json: it is no JSON, or cut off: it is empty"),
        ("{", "it is no JSON, or cut off: Expecting property name"),
        (labelme(shape("\ud800", BOX)), r"a label is '\\ud800': expected 1 to 1000 printable characters"),
        (labelme(shape("red\x1b[31m", BOX)), "printable characters"),
        (labelme(shape(" ", BOX)), "a label is ' ': expected 1 to 1000"),
        (labelme(shape("dog" * 1000, BOX)), "a label is 'dogdog.*: expected 1 to 1000"),
        (labelme(shape("dog", ["A" * 10**6, *[1.0] * 10**5])), "expected pairs"),
        (labelme(shape("dog", [[True, 2], [3, 4], [5, 6]])), "expected pairs"),
        (labelme(imageWidth=True), "declares Truex20 pixels"),
        (labelme(shape("dog", BOX))[:-9], "cannot read"),
        ("[" * 100_000, "nested too deep"),
        ("[]", r"a.json is \[\]: expected dict"),
        ("{}", "shapes is None: expected list"),
        (labelme(shape("dog", [[1, 2], [3]])), "points of dog: expected pairs of finite numbers"),
        (labelme(shape("dog", [[1, "2"], [3, 4]])), "expected pairs"),
        (labelme(shape("dog", [[1, float("nan")], [3, 4], [5, 6]])), "expected pairs"),
        (labelme(shape("dog", [[1, float("inf")], [3, 4], [5, 6]])), "expected pairs"),
        (labelme(shape("dog", [[1, 10**400], [3, 4], [5, 6]])), "expected pairs"),
        (labelme(shape("dog", {"x": 1})), "points of dog is .*: expected list"),
        (labelme(shape(None, BOX)), "a label is None: expected str"),
        (labelme(shape("dog", BOX, "spline")), "unknown shape_type 'spline'"),
        (labelme(shape("dog", BOX, ["polygon"])), "a shape_type is .*: expected str"),
        (labelme(3), "a shape is 3: expected dict"),
        (labelme(imageWidth=10**9), "declares 1000000000x20 pixels"),
        (labelme(imageWidth="30"), "declares"),
        (labelme(image="gone.jpg"), "no such image below .*: gone.jpg"),
        (labelme(image="../../../etc/passwd"), "no such image|lies outside"),
        (labelme(image="x" * 5000), "no such image"),
        (labelme(image="a\0.jpg"), "no such image"),
    ],
)
def test_broken_files_are_one_line(folder, text, reason):
    with pytest.raises(SegmentError, match=reason) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_files_of_other_encodings_are_read(folder, encoding):
    (folder().root / "a.json").write_bytes(labelme(shape("Hündin", BOX)).replace("\\u00fc", "ü").encode(encoding))
    assert read_labelme(folder().root / "a.json", folder()).labels() == ["Hündin"]


def test_utf16_that_is_cut_off_is_named(folder):
    (folder().root / "a.json").write_bytes(labelme(shape("dog", BOX)).encode("utf-16")[:101])
    with pytest.raises(SegmentError, match="it is cut off, or no text in UTF-16"):
        read_labelme(folder().root / "a.json", folder())


def test_labels_of_labelme_for_background_and_void():
    labels = [read_label(label, "a label") for label in (" dog ", "_background_", "__ignore__")]
    assert labels == ["dog", "background", "void"]


def test_images_outside_the_folder_are_refused(folder, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "b.jpg").symlink_to(tmp_path / "a.jpg")
    for name in ("../a.jpg", "b.jpg"):
        (inside / "x.json").write_text(labelme(image=name))
        with pytest.raises(SegmentError, match="lies outside"):
            read_labelme(inside / "x.json", ImageFolder(inside))


XML = """<annotation><filename>a.jpg</filename><folder>f</folder>
<imagesize><nrows>20</nrows><ncols>30</ncols></imagesize>
<object><name>wheel</name><deleted>0</deleted><occluded>yes</occluded><parts><ispartof>1</ispartof></parts>
<polygon><pt><x>3</x><y>4</y></pt><pt><x>5</x><y>4</y></pt><pt><x>5</x><y>6</y></pt><pt><x>3</x><y>6</y></pt></polygon></object>
<object><name>car</name><deleted>0</deleted><id>1</id><parts><hasparts>0</hasparts></parts>
<polygon><pt><x>2</x><y>3</y></pt><pt><x>9</x><y>3</y></pt><pt><x>9</x><y>12</y></pt><pt><x>2</x><y>12</y></pt></polygon></object>
<object><name>ghost</name><deleted>1</deleted><polygon><pt><x>0</x><y>0</y></pt></polygon></object></annotation>"""


def read_xml_text(folder, text):
    path = folder().root / "a.xml"
    path.write_text(text)
    return read_labelme_xml(path, folder())


def test_mit_xml(folder):
    found = read_xml_text(folder, XML)
    assert found.labels() == ["car", "wheel"]  # the part is drawn over its whole
    assert found.objects[1].flags == {"occluded"}
    assert np.bincount(found.object_map(image_header(found.image)).ravel()).tolist() == [520, 71, 9]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (XML[:-30], "cannot read"),
        ('<!DOCTYPE a [<!ENTITY b "boom">]>' + XML.replace("ghost", "&b;"), "document type"),
        (XML.replace("<x>2</x>", "<x>two</x>"), "expected a number, got 'two'"),
        (XML.replace("<x>2</x>", "<x>nan</x>"), "points of car: expected pairs"),
        ("<a>" * 50_000, "cannot read"),
        ("<html><body>x</body></html>", "a.xml has <html>; LabelMe's XML has <annotation>"),
        ("<annotations><image/></annotations>", "a.xml is CVAT's own XML, which is not read: export the task as"),
        (XML.replace("<name>car</name>", "<name>car</name><segm><mask>m.png</mask></segm>"), "only polygons are"),
    ],
)
def test_broken_xml_is_one_line(folder, text, reason):
    with pytest.raises(SegmentError, match=reason):
        read_xml_text(folder, text)


@needs_shared
@pytest.mark.parametrize("name", ["2011_000003", "2011_000006"])
def test_masks_equal_those_of_labelmes_exporter(name):
    root = SHARED / "data" / "labelme"
    names = (root / "labels.txt").read_text().splitlines()[1:]
    names[0] = "background"
    folder = ImageFolder(root / "data_annotated")
    found = read_labelme(root / "data_annotated" / f"{name}.json", folder)
    mask = found.label_map(
        image_header(found.image), lambda item: {"void": 255}.get(item.label) or names.index(item.label)
    )
    assert (mask != np.array(Image.open(root / "SegmentationClass" / f"{name}.png"))).sum() <= 2
