"""The images that are found: in folders, by patterns, through links."""

from pathlib import Path

import pytest

from segment.errors import SegmentError
from segment.prediction.input_files import find_inputs


@pytest.fixture
def photos(tmp_path):
    """A folder with images, other files and a sub-folder."""
    for name in (
        "b.PNG",
        "a.jpg",
        "c.gif",
        "notes.txt",
        ".hidden.png",
        "scan.xyz",
        "sub/d.png",
        "sub/folder.png/e.png",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def names(source, output="nowhere") -> set[str]:
    """Paths of the images below the folder that contains them all."""
    images, base = find_inputs(Path(source), Path(output))
    assert images == sorted({*images})
    return {str(image.relative_to(base)) for image in images}


def test_a_file_may_have_any_name(photos):
    assert find_inputs(photos / "notes.txt", photos) == ([photos / "notes.txt"], photos)


def test_a_folder_gives_the_images_directly_in_it(photos):
    assert names(photos) == {"a.jpg", "b.PNG", "c.gif"}
    assert names(photos / "sub") == {"d.png"}


def test_patterns(photos):
    assert names(f"{photos}/*") == {"a.jpg", "b.PNG", "c.gif"}
    assert names(f"{photos}/[ab].*") == {"a.jpg", "b.PNG"}
    assert names(f"{photos}/*.xyz") == {"scan.xyz"}, "the pattern says that these are images"
    assert names(f"{photos}/**/*.png") == {"d.png", "folder.png/e.png"}
    assert names(f"{photos}/**") == {"a.jpg", "b.PNG", "c.gif", "sub/d.png", "sub/folder.png/e.png"}


def test_links_are_followed_once(photos):
    (photos / "sub" / "up").symlink_to(photos)
    (photos / "sub" / "self").symlink_to(".")
    (photos / "other").symlink_to("sub")
    found = {"sub/d.png", "other/d.png", "sub/folder.png/e.png", "other/folder.png/e.png"}
    assert names(f"{photos}/**/*.png") == found


def test_masks_of_an_earlier_run_are_no_input(photos):
    assert names(f"{photos}/**/*.png", photos / "sub/folder.png") == {"d.png"}
    (photos.parent / "link").symlink_to(photos / "sub")
    for output in (photos / "sub", photos.parent / "link"):
        with pytest.raises(SegmentError, match=f"output={output} is the folder of the images"):
            find_inputs(photos / "sub", output)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "empty",
            r"input=empty: no image or video in this folder \(.3gp, .avi, .bmp, .*'input=empty/\*\*/\*' searches",
        ),
        ("*.bmp", r"input=\*.bmp: no image or video matches"),
        ("nowhere.png", "input=nowhere.png: no such file or folder"),
        ("broken.png", "input=broken.png: it is a broken link, expected a file or folder"),
    ],
)
def test_nothing_found(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken.png").symlink_to("broken.png")
    with pytest.raises(SegmentError, match=message):
        find_inputs(Path(source), Path("o"))
