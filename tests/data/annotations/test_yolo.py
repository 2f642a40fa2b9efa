"""YOLO's text files, and the names of its classes."""

import itertools
import os

import numpy as np
import pytest

from segment.data.annotations.sources import ImageFolder
from segment.data.annotations.yolo import find_data_yaml, label_files, read_names, read_splits, read_yolo
from segment.data.headers import image_header
from segment.errors import SegmentError
from tests.data.annotations.conftest import save_photo

SMALL, LARGE = "1 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4", "0 0 0 0.9 0 0.9 0.9 0 0.9"


def make(root, text=f"{SMALL}\n\n{LARGE}\n", names="names:\n  0: person\n  1: 'big dog'\n"):
    save_photo(root / "images" / "train" / "a.jpg")
    (root / "labels" / "train").mkdir(parents=True, exist_ok=True)
    (root / "labels" / "train" / "a.txt").write_text(text)
    (root / "data.yaml").write_text(names)
    folder = ImageFolder(root)
    (path,) = label_files(folder)
    file = find_data_yaml(folder)
    return read_yolo(path, folder, read_names(folder, file), read_splits(folder, file)[0])


def test_small_objects_are_drawn_over_large_ones(tmp_path):
    found = make(tmp_path)
    assert (found.id, found.labels()) == ("train/a", ["person", "big dog"])
    assert np.bincount(found.object_map(image_header(found.image)).ravel())[2] == 7 * 7
    assert make(tmp_path, "").objects == []  # an image without objects


@pytest.mark.parametrize(
    "names",
    [
        "names: [person, 'big dog']  # two\n",
        "names:\n- person\n- big dog\nnc: 2\n",
        "names:\n  1: big dog\n  0: person\n",
    ],
)
def test_forms_of_names(tmp_path, names):
    assert make(tmp_path, names=names).labels() == ["person", "big dog"]


@pytest.mark.parametrize(
    "names", ["names: {1: big dog, 2: cat}", "names: [~, big dog]", "names:\n-\n- big dog", "\nbig dog\n"]
)
def test_the_number_of_a_class_is_its_key_or_place(tmp_path, names):
    (tmp_path / "classes.txt").write_text(names)
    assert make(tmp_path, SMALL, names if ":" in names else "").labels() == ["big dog"]
    with pytest.raises(SegmentError, match=r"class 0 has no name; named are 1"):
        make(tmp_path, LARGE, names if ":" in names else "")


@pytest.mark.parametrize("name", ["classes.txt", "obj.names"])
def test_names_from_a_list_or_none(tmp_path, name):
    assert make(tmp_path, names="path: .\n").labels() == ["class 0", "class 1"]
    (tmp_path / name).write_text("a\nb\n")
    assert make(tmp_path, names="path: .\n").labels() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dog 0 0 1 1 1 0", "expected CLASS X1 Y1"),
        ("0 0 0 1 nan 1 0", "expected CLASS"),
        ("0 0 0 1 1 1", "expected CLASS"),
        ("0 0.5 0.5 0.1 0.1", "has a box and no outline"),
        ("7 0 0 1 1 1 0", "class 7 has no name; named are 0, 1"),
        ("-1 0 0 1 1 1 0", "expected CLASS"),
    ],
)
def test_broken_files_are_one_line(tmp_path, text, reason):
    with pytest.raises(SegmentError, match=reason):
        make(tmp_path, text)


def test_text_of_powershell_is_read(tmp_path):
    make(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(LARGE.encode("utf-16"))
    folder = ImageFolder(tmp_path)
    assert read_yolo(*label_files(folder), folder, {0: "person"}, {}).labels() == ["person"]


@pytest.mark.parametrize("name", ["labels/train/a.txt", "data.yaml", "classes.txt"])
def test_a_pipe_or_a_broken_link_is_one_line(tmp_path, name):
    make(tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / name).unlink(missing_ok=True)
    for place in (os.mkfifo, lambda path: path.symlink_to("nothing")):
        place(tmp_path / name)
        folder = ImageFolder(tmp_path)
        with pytest.raises(SegmentError, match=f"cannot read .*{name}: "):
            read_yolo(tmp_path / "labels" / "train" / "a.txt", folder, read_names(folder, find_data_yaml(folder)), {})
        (tmp_path / name).unlink()


@pytest.mark.parametrize("names", ["names: [", "names: {x: y}", "names: cell", "a: &a [x]\nb: *b\n", "[" * 5000])
def test_broken_names_are_one_line(tmp_path, names):
    with pytest.raises(SegmentError, match=r"cannot read .*data\.yaml"):
        make(tmp_path, names=names)


def test_an_alias_bomb_is_no_name(tmp_path):
    pairs = itertools.pairwise("abcdefghijk")
    bomb = "a: &a [x]\n" + "".join(f"{n}: &{n} [*{m},*{m},*{m}]\n" for m, n in pairs)
    assert make(tmp_path, names=bomb + "names: [*k, dog]\n", text="").labels() == []
