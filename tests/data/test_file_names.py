"""Images and masks are paired by patterns of their names."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from segment.data.datasets.folder import FolderDataModule
from segment.data.file_names import find_pairs, name_patterns, polygon_hint
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared

UMLAUT = "b\u00fccher"


def pairs_of(root: Path, files: str, image_name: str = "{name}", mask_name: str = "{name}") -> dict[str, str]:
    """Return the mask of each sample, both by their names, of files that are made below the root."""
    for name in files.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    images, masks = root / "i", root / ("m" if "m/" in files else "i")
    found = find_pairs(images, masks, *name_patterns(image_name, mask_name))
    return {sample.id: str(sample.mask.relative_to(masks)) for sample in found}


@pytest.mark.parametrize(
    ("files", "patterns", "expected"),
    [
        ("i/1.jpg m/1.gif", {}, {"1": "1.gif"}),
        ("i/1.jpg m/1.npy", {}, {"1": "1.npy"}),
        ("i/1.jpg m/mask_1.png", {"mask_name": "mask_{name}"}, {"1": "mask_1.png"}),
        ("i/img_1.jpg m/mask_1.png", {"image_name": "img_{name}", "mask_name": "mask_{name}"}, {"img_1": "mask_1.png"}),
        ("i/S1.JPG m/s1.PNG", {}, {"S1": "s1.PNG"}),
        ("i/a.jpg i/A.jpg m/a.png m/A.png", {}, {"A": "A.png", "a": "a.png"}),
        ("i/1.jpg i/1.png", {"mask_name": "{name}.png"}, {"1": "1.png"}),
        ("i/1.jpg i/MASK_1.png i/mask_2.png", {"mask_name": "mask_{name}"}, {"1": "MASK_1.png"}),
        ("i/1.jpg m/1.png m/1.tif", {"mask_name": "{name}.TIF"}, {"1": "1.tif"}),
        ("i/a/1_x.jpg i/b/1_x.jpg m/a/1_y.png m/b/1_y.png m/b/1_z.png",
         {"image_name": "{name}_x", "mask_name": "{folder}/{name}_y"}, {"a/1_x": "a/1_y.png", "b/1_x": "b/1_y.png"}),
        ("i/a/b/1.jpg i/2.jpg m/a/b/1.png m/2.png", {"mask_name": "{folder}/{name}"},
         {"2": "2.png", "a/b/1": "a/b/1.png"}),
        ("i/a/1.jpg m/a_1.png", {"image_name": "{folder}/{name}", "mask_name": "{folder}_{name}"}, {"a/1": "a_1.png"}),
        ("i/a/1.jpg m/1.png", {"image_name": "{folder}/{name}"}, {"a/1": "1.png"}),
        ("i/a/photo.jpg i/a/mask.png", {"image_name": "{folder}/photo", "mask_name": "{folder}/mask"},
         {"a/photo": "a/mask.png"}),
        ("i/1.jpg m/1.jpg.png", {"mask_name": "{name}.jpg.png"}, {"1": "1.jpg.png"}),
        ("i/1.jpg i/._1.jpg m/._1.png m/1.png", {}, {"1": "1.png"}),
    ],
)  # fmt: skip
def test_patterns(tmp_path, files, patterns, expected):
    assert pairs_of(tmp_path, files, **patterns) == expected


def test_images_of_one_name_in_two_folders_need_no_masks(tmp_path):
    for folder in "ab":
        (tmp_path / "i" / folder).mkdir(parents=True)
        (tmp_path / "i" / folder / "1.jpg").touch()
    samples = find_pairs(tmp_path / "i", tmp_path / "none", *name_patterns("{folder}/{name}", "{name}"))
    assert [(sample.id, sample.mask) for sample in samples] == [("a/1", None), ("b/1", None)]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    files = "i/0/1.jpg m/0/1.png far/i/2.jpg far/m/2.png"
    pairs_of(tmp_path, files, mask_name="{folder}/{name}")
    for kind in "im":
        (tmp_path / kind / "1").symlink_to(tmp_path / "far" / kind)
        (tmp_path / kind / "circle").symlink_to(tmp_path / kind)
    found = pairs_of(tmp_path, files, mask_name="{folder}/{name}")
    assert found == {"0/1": "0/1.png", "1/2": "1/2.png"}


def test_names_in_another_unicode_form(tmp_path):
    apart = unicodedata.normalize("NFD", UMLAUT)
    assert pairs_of(tmp_path, f"i/{apart}.jpg m/{UMLAUT}.png") == {UMLAUT: f"{UMLAUT}.png"}
    assert pairs_of(tmp_path / "2", f"i/{UMLAUT}.jpg m/x{apart}.png", mask_name="x{name}") == {UMLAUT: f"x{apart}.png"}


@pytest.mark.parametrize(
    ("files", "patterns", "message"),
    [
        ("i/1.jpg m/1.png m/1.tif", {}, "m/1.png and .*m/1.tif have one name: which .* data.mask_name={name}.png"),
        ("i/1.jpg m/1.PNG m/1.png", {}, "have one name: which is the mask of .*? Remove the other$"),
        ("i/S.jpg m/s.png m/s.gif", {}, "s.gif and .*s.png have one name"),
        ("i/1.jpg i/1.png m/1.png", {}, "i/1.jpg and .*i/1.png have one name: whose is the mask?"),
        ("i/a.jpg i/A.jpg m/a.png", {}, "i/A.jpg and .*i/a.jpg have one mask, .*a.png"),
        ("i/a/1.jpg i/b/1.jpg m/1.png", {"image_name": "{folder}/{name}"}, "have one mask"),
        ("i/1.jpg i/1.png", {}, "lie in one folder, .*mask_name={name} has to tell .* as {name}_mask or {name}.png"),
        ("i/c_0_left.png m/x/c_0_gt.png", {}, "lay images and masks in folders alike, or set data.masks=m/x$"),
        ("i/a_left.png m/a_label.png", {}, "set data.image_name={name}_left data.mask_name={name}_label$"),
        ("i/img_7.png m/msg_7.png", {}, "set data.image_name=img_{name} data.mask_name=msg_{name}$"),
        ("i/c/1.jpg m/1.png", {}, "for c/1.jpg and 1.png, set data.image_name={folder}/{name} data.mask_name={name}$"),
        ("i/1.jpg m/1.jpg.png", {}, "for 1.jpg and 1.jpg.png, set data.mask_name={name}.jpg.png$"),
        ("i/1.jpg m/1.txt", {}, r"no mask in .*m \(.bmp, .gif, .jpeg"),
        ("i/1.txt m/1.png", {}, r"no image in .*i \(.bmp, .jpeg"),
    ],
)  # fmt: skip
def test_ambiguous_or_missing_names(tmp_path, files, patterns, message):
    with pytest.raises(SegmentError, match=message.replace("{", r"\{").replace("?", r"\?")):
        pairs_of(tmp_path, files, **patterns)


@pytest.mark.parametrize("text", ["_mask", "{name}_{name}", "{stem}", "mask_{Name}", "{name}{x}"])
def test_patterns_that_make_no_sense(text):
    with pytest.raises(SegmentError, match=r"data.mask_name=.*: expected \{name\}, \{folder\} or both, once each"):
        FolderDataModule("x", classes=["a", "b"], mask_name=text)
    with pytest.raises(SegmentError, match=r"has \{name\}, which data.image_name=\{folder\}/photo lacks"):
        FolderDataModule("x", classes=["a", "b"], image_name="{folder}/photo", mask_name="{name}")


def test_polygons_beside_the_images(tmp_path):
    for name in ("i/1.jpg", "i/1.json", "m/"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text('{"shapes": []}')
    with pytest.raises(SegmentError, match=r"no mask in .*; 1.json is no mask: data=annotations reads"):
        pairs_of(tmp_path, "m/x.txt")
    assert polygon_hint(tmp_path / "m") == ""


def test_polygons_without_a_folder_of_masks(folder_root):
    for path in [*(folder_root / "train" / "images").iterdir()]:
        path.with_suffix(".json").write_text('{"shapes": []}')
    shutil.rmtree(folder_root / "train" / "masks")
    data = FolderDataModule(str(folder_root), classes=["a", "b", "c"])
    with pytest.raises(
        SegmentError, match=r"have no masks at .*; 0.json is no mask: data=annotations reads .* Label Studio$"
    ):
        data.setup("fit")


@needs_shared
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("names_prefix", {"image_name": "img_{name}", "mask_name": "mask_{name}"}),
        ("names_one_folder", {"images": ".", "masks": ".", "mask_name": "{name}.png"}),
        ("names_nested", {"images": "leftImg8bit", "masks": "gtFine", "image_name": "{name}_leftImg8bit",
                          "mask_name": "{folder}/{name}_gtFine_labelIds"}),
    ],
)  # fmt: skip
def test_cases(case, options):
    data = FolderDataModule(str(SHARED / "cases" / case), classes=["background", "a", "b"], **options)
    data.setup("fit")
    assert len(data.dataset("train")) + len(data.dataset("val")) == 6


def test_lists_name_images_in_folders(folder_root):
    for kind in ("images", "masks"):
        shutil.move(folder_root / "val" / kind, folder_root / "train" / kind / "city")
    root = folder_root / "train"
    data = FolderDataModule(str(root), classes=["a", "b", "c"], mask_name="{folder}/{name}")
    (root / "val.txt").write_text("images/city/1.jpg\nCITY/2\n1.jpg\n")
    assert [sample.id for sample in data.samples("val")] == ["city/1", "city/2", "1"]
