"""Groups of images by a pattern, by a file, and by blocks of consecutive ids."""

import unicodedata

import pytest

from segment.data.datasets.shapes import ShapesDataModule
from segment.data.image_groups import group_images
from segment.errors import SegmentError

IDS = ["b_2", "a_10", "a_9", "b_1", "a_8"]


def test_no_rule_gives_no_groups():
    assert group_images(IDS) is None
    assert ShapesDataModule(val_size=3).image_groups("val") is None


def test_the_first_group_of_a_pattern():
    assert group_images(IDS, pattern="^(.)_(.)") == ["b", "a", "a", "b", "a"]
    assert group_images(IDS, pattern=r"(\d)$") == ["2", "0", "9", "1", "8"]


def test_blocks_of_consecutive_ids_with_numbers_in_order():
    """In order: a_8, a_9, a_10, b_1, b_2."""
    assert group_images(IDS, block=2) == ["block 2", "block 1", "block 0", "block 1", "block 0"]


def test_a_file(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text(
        "id,group\r\n" + "".join(f"{id},patient {id[0]}\r\n" for id in IDS) + '\r\n"more, of it",x\r\n', "utf-8-sig"
    )
    assert group_images(IDS, file=str(path)) == [f"patient {id[0]}" for id in IDS]
    assert ShapesDataModule(val_size=2, groups={"block": 1}).image_groups("val").tolist() == ["block 0", "block 1"]


@pytest.mark.parametrize("rule", [{"pattern": "^(.)_"}, {"block": 2}])
def test_an_id_that_is_listed_twice_has_its_group_twice(rule):
    once, (*groups, last) = group_images(IDS, **rule), group_images([*IDS, "b_2"], **rule)
    assert (groups, last) == (once, once[0])


def test_unicode_forms_of_ids_in_a_file_may_differ(tmp_path):
    forms = [unicodedata.normalize(form, "ä_1") for form in ("NFC", "NFD")]
    (tmp_path / "groups.csv").write_text(f"{forms[1]},x\n", "utf-8")
    assert [group_images([form], file=str(tmp_path / "groups.csv")) for form in forms] == [["x"], ["x"]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"pattern": "(a)", "block": 2}, "data.groups has pattern and block: give one of them"),
        ({"pattern": "a"}, "data.groups.pattern=a: expected a group in parentheses"),
        ({"pattern": "(a"}, r"data.groups.pattern=\(a: it is no regular expression: missing \)"),
        ({"pattern": 3}, "data.groups.pattern=3: it is no regular expression"),
        ({"pattern": "(a)"}, "it finds no group in the image id 'b_2'"),
        ({"pattern": "b|(a)"}, "it finds no group in the image id 'b_2'"),
        ({"block": 0}, "data.groups.block=0: expected a number of images from 1"),
        ({"block": "x"}, "data.groups.block=x: expected a number"),
        ({"file": 5}, "the file 5 does not exist"),
        ({"file": True}, "the file True does not exist"),
        ({"file": "~nouser/x.csv"}, "the file ~nouser/x.csv does not exist"),
        ({"file": "none.csv"}, "the file none.csv does not exist"),
        ({"file": "/dev/zero"}, "/dev/zero is a device, not a file"),
    ],
)
def test_rules_that_do_not_fit(rule, message):
    with pytest.raises(SegmentError, match=message):
        group_images(IDS, **rule)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a_8,x\n", "4 images have no group, the first is 'b_2'"),
        ("a_8\n", "expected 'ID,GROUP' once for each image, got 'a_8'"),
        ("a_8,x\na_8,y\n", "expected 'ID,GROUP' once for each image, got 'a_8,y'"),
    ],
)
def test_files_that_do_not_fit(tmp_path, content, message):
    path = tmp_path / "groups.csv"
    path.write_text(content)
    with pytest.raises(SegmentError, match=message):
        group_images(IDS, file=str(path))
