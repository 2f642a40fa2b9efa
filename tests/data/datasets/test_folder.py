"""A user's own images and masks: every kind of mask, every way to split them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.data.datasets.folder import FolderDataModule
from segment.data.doctor import examine
from segment.errors import SegmentError
from tests.conftest import SHARED, SMALL, needs_shared
from tests.data_sets import palette_image, write_pair

TRUTH = np.kron(np.array([[0, 1, 2], [2, 0, 1]]), np.ones((8, 8), int))
"""Class indices (16,24) that each kind of mask below stands for."""


def save_pair(root: Path, name: str, mask: Image.Image, suffix: str = ".png") -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", mask.size, "grey").save(root / "images" / f"{name}.jpg")
    mask.save(root / "masks" / f"{name}{suffix}")


def save_pairs(root: Path, count: int = 10, values: np.ndarray = TRUTH) -> Path:
    for i in range(count):
        save_pair(root, f"img_{i}", Image.fromarray(values.astype(np.uint8)))
    return root


def first_mask(root: Path, **options) -> torch.Tensor:
    return FolderDataModule(str(root), **options).dataset("train")[0]["mask"]


COLOURS = np.array([(0, 0, 0), (128, 64, 128), (220, 20, 60)], np.uint8)
HEX = {"#000000": "ground", "#804080": "road", "#dc143c": "person"}


@pytest.mark.parametrize(
    ("mask", "classes"),
    [
        (Image.fromarray(TRUTH.astype(np.uint8)), ["ground", "road", "person"]),
        (palette_image(TRUTH), ["ground", "road", "person"]),
        (Image.fromarray(COLOURS[TRUTH]), HEX),
        (Image.fromarray(COLOURS[TRUTH]).convert("RGBA"), HEX),
        (Image.fromarray(COLOURS[TRUTH]).quantize(8), HEX),  # colours in a palette of PIL's own order
        (Image.fromarray(TRUTH.astype(np.uint8) * 9), {"0/0/0": "ground", "9/9/9": "road", "18/18/18": "person"}),
        (Image.fromarray(np.array([7, 90, 255], np.uint8)[TRUTH]), {7: "ground", 90: "road", 255: "person"}),
    ],
    ids=["index", "palette", "rgb", "rgba", "coloured palette", "grey colours", "values"],
)
def test_kinds_of_masks(tmp_path, mask, classes):
    for i in range(4):
        save_pair(tmp_path, str(i), mask)
    assert np.array_equal(first_mask(tmp_path, classes=classes).numpy(), TRUTH)
    assert FolderDataModule(str(tmp_path), classes=classes).classes.names == ("ground", "road", "person")


def test_values_of_one_name_are_one_class_and_void_is_ignored(tmp_path):
    save_pairs(tmp_path)
    mask = first_mask(tmp_path, classes={0: "a", 1: "void", 2: "a", 3: "b"})
    assert np.array_equal(mask.numpy(), np.where(TRUTH == 1, 255, 0))
    with pytest.raises(SegmentError, match=r"have 1 label that data.classes does not name(.|\n)*    2: NAME1  # 33"):
        first_mask(tmp_path, classes={0: "a", 1: "b"})


def test_an_unknown_colour_is_named(tmp_path):
    for i in range(4):
        save_pair(tmp_path, str(i), Image.fromarray(COLOURS[TRUTH]))
    with pytest.raises(
        SegmentError, match=r"have 1 colour .* does not name: give each a NAME, or void(.|\n)*220/20/60: NAME"
    ):
        first_mask(tmp_path, classes={"#000000": "ground", "#804080": "road"})
    with pytest.raises(SegmentError, match=r"has mode RGB; expected one channel .* a table of them in data.classes"):
        first_mask(tmp_path, classes=["ground", "road", "person"])


def test_binary_masks_without_a_table_are_refused_with_a_hint(tmp_path):
    save_pairs(tmp_path, values=(TRUTH > 0) * 255)
    with pytest.raises(SegmentError, match=r"0 and 255 alone.*data.classes=\{0:background,255:NAME\}"):
        FolderDataModule(str(tmp_path), classes=["background", "cell"]).setup("fit")
    assert set(first_mask(tmp_path, classes={0: "background", 255: "cell"}).unique().tolist()) == {0, 1}


def test_masks_of_one_class_and_void_are_accepted(tmp_path):
    for i in range(4):
        save_pair(tmp_path, str(i), Image.fromarray(np.where(TRUTH == 2, 255, TRUTH if i < 2 else 0).astype(np.uint8)))
    (tmp_path / "train.txt").write_text("0\n1\n")
    (tmp_path / "val.txt").write_text("2\n3\n")
    FolderDataModule(str(tmp_path), classes=["background", "cell"]).setup("fit")
    save_pairs(tmp_path / "void", values=TRUTH % 2)
    FolderDataModule(str(tmp_path / "void"), classes=["a", "void", "b"]).setup("fit")


def test_masks_of_one_bit_fit_a_table_of_0_and_255(tmp_path):
    for i in range(4):
        save_pair(tmp_path, str(i), Image.fromarray(TRUTH == 1))
    for classes in ({0: "a", 255: "b"}, {0: "a", 1: "b"}, ["a", "b"], {"0/0/0": "a", "255/255/255": "b"}):
        assert np.array_equal(first_mask(tmp_path, classes=classes).numpy(), TRUTH == 1)


def test_empty_masks_are_accepted(tmp_path):
    save_pairs(tmp_path, 6, TRUTH * 0)
    assert (first_mask(tmp_path, classes=["background", "lesion"]) == 0).all()


def test_the_fraction_does_not_depend_on_the_seed_of_the_run(tmp_path):
    save_pairs(tmp_path)
    splits = []
    for seed in (0, 1):
        data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"], val_fraction=0.3, seed=seed)
        splits.append([[s.id for s in data.samples(name)] for name in ("train", "val")])
    assert splits[0] == splits[1]
    train, val = splits[0]
    assert (len(train), len(val)) == (7, 3)
    assert not {*train} & {*val}
    other = FolderDataModule(str(tmp_path), classes=["a", "b", "c"], val_fraction=0.3, split_seed=1).samples("val")
    assert [s.id for s in other] != val
    save_pairs(tmp_path, 12)
    more = FolderDataModule(str(tmp_path), classes=["a", "b", "c"], val_fraction=0.3).samples("val")
    assert (
        len({s.id for s in more} & {*train}) <= 1
    )  # or an old checkpoint would be evaluated on images it was trained on


@pytest.mark.slow
def test_images_that_were_trained_on_are_counted_under_any_name(tmp_path, main, capsys):
    """A folder that grows may move an image to the other split, and lists may change."""
    root = tmp_path / "data"
    for i in range(4):
        write_pair(root / "images" / f"img_{i}.bmp", root / "masks" / f"img_{i}.png", TRUTH, i)  # all of one size
    (root / "val.txt").write_text("img_0\nimg_1\n")
    (root / "train.txt").write_text("img_2\nimg_3\n")
    overrides = ("data=folder", f"data.root={root}", "data.classes=[a,b,c]", "data.crop_size=[16,16]", *SMALL)
    run = main("train", *overrides, "trainer.max_epochs=1")
    assert json.loads((run / "metrics.json").read_text())["images_trained_on"] == 0
    assert "optimistic" not in capsys.readouterr().out
    for folder in ("images", "masks"):
        (file,) = (root / folder).glob("img_3.*")
        shutil.copy(file, file.with_stem("copy"))
    (root / "val.txt").write_text("img_0\nimg_2\ncopy\n")
    again = main("evaluate", f"checkpoint={run}/checkpoints/best.ckpt", "data.num_workers=0")
    note = "note: 2 of 3 evaluation images were in the training set, so these scores are optimistic\n"
    assert note in capsys.readouterr().out
    assert json.loads((again / "metrics.json").read_text())["images_trained_on"] == 2


def test_splits_by_list(tmp_path):
    save_pairs(tmp_path)
    (tmp_path / "train.txt").write_text("img_3\nimages/img_1.jpg\n")
    (tmp_path / "val.txt").write_text("img_0.jpg\n")
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    assert [s.id for s in data.samples("train")] == ["img_3", "img_1"]
    assert [s.id for s in data.samples("val")] == ["img_0"]
    with pytest.raises(SegmentError, match=r"no split 'test' .*; found train.txt, val.txt"):
        data.samples("test")
    (tmp_path / "val.txt").write_text("img_77\n")
    with pytest.raises(SegmentError, match=r"val.txt lists 'img_77', but there is no such image in .*images$"):
        data.samples("val")
    (tmp_path / "images" / "img_77.gif").touch()
    for line in ("img_77", "img_77.gif"):
        (tmp_path / "val.txt").write_text(f"{line}\n")
        with pytest.raises(SegmentError, match=rf"lists '{line}', .*: img_77.gif has a suffix other than .bmp, .jpeg"):
            data.samples("val")
    (tmp_path / "val.txt").write_text("/elsewhere/img_77.png\n")
    with pytest.raises(SegmentError, match=r"lists '/elsewhere/img_77.png', but there is no such image in .*images$"):
        data.samples("val")


def test_lists_as_users_have_them(tmp_path):
    mask = Image.fromarray(TRUTH.astype(np.uint8))
    for name in ("my photo 1", "b\u00fccher", "img_0", "img_1"):
        save_pair(tmp_path, name, mask)
    text = "\ufeff# mine\nmy photo 1.jpg\r\nimages\\b\u00fccher.jpg\n./images/img_0.jpg masks/img_0.png\n"
    (tmp_path / "train.txt").write_text(text, "utf-8")
    (tmp_path / "val.txt").write_text("img_1\n")
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    assert [s.id for s in data.samples("train")] == ["my photo 1", "b\u00fccher", "img_0"]


def test_text_files_and_folders_that_are_no_splits(tmp_path):
    save_pairs(tmp_path)
    for name in ("README.txt", "classes.txt"):
        (tmp_path / name).write_text("a b c\n")
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    assert [len(data.samples(split)) for split in ("train", "val")] == [8, 2]
    save_pairs(tmp_path / "new", 3)
    for kind in ("images", "masks"):
        (tmp_path / "new" / kind).rename(tmp_path / kind / "train")
    with pytest.raises(SegmentError, match=r"no split 'val' .*; found train$"):  # not a fraction of the images
        data.samples("val")


def test_a_list_selects_from_the_folder_of_its_split(tmp_path):
    for split in ("train", "val"):
        save_pairs(tmp_path / split, 3)
        (tmp_path / f"{split}.txt").write_text(f"images/{split}/img_1.jpg\n")
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / split / kind).rename(tmp_path / kind / split)
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    assert [len(data.dataset(split)) for split in ("train", "val")] == [1, 1]


@pytest.mark.parametrize("inner", [True, False])
def test_splits_by_folder(tmp_path, inner):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        save_pairs(tmp_path / split, count)
        if inner:
            for kind in ("images", "masks"):
                (tmp_path / kind).mkdir(exist_ok=True)
                shutil.move(tmp_path / split / kind, tmp_path / kind / split)
            (tmp_path / split).rmdir()
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [3, 2, 1]


def test_masks_with_a_suffix_in_the_same_folder(tmp_path):
    save_pairs(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        shutil.move(path, tmp_path / "images" / f"{path.stem}_mask.png")
    (tmp_path / "images" / "._img_0.jpg").write_bytes(b"macOS")
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"], masks="images", mask_name="{name}_mask")
    data.setup("fit")
    assert len(data.dataset("train")) + len(data.dataset("val")) == 10


def test_faults(tmp_path):
    with pytest.raises(SegmentError, match=r"no data set at data.root="):
        FolderDataModule(str(tmp_path / "nowhere"), classes=["a", "b"]).samples("train")
    save_pairs(tmp_path)
    (tmp_path / "masks" / "img_4.png").unlink()
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    with pytest.raises(SegmentError, match=r"img_4.png is missing"):
        data.setup("fit")
    save_pair(tmp_path, "img_4", Image.fromarray(TRUTH.astype(np.uint8)))
    Image.new("RGB", (24, 16)).save(tmp_path / "images" / "img_4.png")
    with pytest.raises(SegmentError, match="have one name: whose is the mask"):
        data.samples("train")


@pytest.mark.parametrize("other", ["img_0.tif", "img_0.PNG"])
def test_two_masks_of_one_name_are_refused(tmp_path, other):
    """Also if they are equal, and by segment.check, too."""
    masks = save_pairs(tmp_path) / "masks"
    Image.open(masks / "img_0.png").save(masks / other)
    data = FolderDataModule(str(tmp_path), classes=["a", "b", "c"])
    with pytest.raises(SegmentError, match=r"have one name: which is the mask of .*img_0.jpg") as error:
        data.dataset("train")
    assert all(str(masks / name) in str(error.value) for name in ("img_0.png", other))
    assert [p.message for p in examine(data, ["train", "val"]).problems] == [str(error.value)]


def test_a_jpeg_mask_is_refused(tmp_path):
    save_pairs(tmp_path)
    (tmp_path / "masks" / "img_2.png").unlink()
    Image.fromarray(TRUTH.astype(np.uint8)).save(tmp_path / "masks" / "img_2.jpg")
    with pytest.raises(SegmentError, match=r"img_2.jpg is a JPEG, which changes labels"):
        FolderDataModule(str(tmp_path), classes=["a", "b", "c"]).setup("fit")


def test_classes_on_the_command_line(tmp_path):
    for overrides, names in (
        (["data.classes=[background,cell]"], ("background", "cell")),
        (["data.classes={0:membrane,255:cell}"], ("membrane", "cell")),
        (["data.classes={128/64/128:road,0/0/0:void,0/255/0:grass}"], ("road", "grass")),
    ):
        data = instantiate(load_config(["data=folder", f"data.root={tmp_path}", *overrides]).data)
        assert data.classes.names == names


@needs_shared
def test_isbi2012():
    data = instantiate(load_config(["data=isbi2012", f"data.root={SHARED / 'data' / 'isbi2012'}"]).data)
    data.setup("fit")
    assert len(data.dataset("train")) == 16
    item = data.dataset("val")[0]
    raw = np.array(Image.open(SHARED / "data/isbi2012/label" / f"{item['id']}.png"))
    assert np.array_equal(item["mask"].numpy(), (raw == 255).astype(int))
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 256, 256)
    assert {0, 1, 255} >= set(batch["mask"].unique().tolist()) >= {0, 1}


def test_void_in_a_list_of_names_is_ignored(tmp_path):
    save_pairs(tmp_path)
    data = FolderDataModule(str(tmp_path), classes=["a", "void", "b"])
    assert data.classes.names == ("a", "b")
    assert np.array_equal(data.dataset("train")[0]["mask"].numpy(), np.choose(TRUTH, [0, 255, 1]))


def test_one_image_is_not_enough_for_two_splits(tmp_path):
    save_pairs(tmp_path, 1)
    with pytest.raises(SegmentError, match="has one image: expected at least one for training and one for validation"):
        FolderDataModule(str(tmp_path), classes=["a", "b", "c"]).samples("train")


def test_hints_for_other_layouts(tmp_path):
    save_pairs(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(SegmentError, match=r"for img_0.jpg and img_0_mask.png, set data.mask_name=\{name\}_mask$"):
        FolderDataModule(str(tmp_path), classes=["a", "b", "c"]).samples("train")
    for kind in ("images", "masks"):
        (tmp_path / "deep" / kind / "city").mkdir(parents=True)
        shutil.move(tmp_path / kind, tmp_path / "deep" / kind / "city")
    with pytest.raises(
        SegmentError, match=r"set data.image_name=\{folder\}/\{name\} data.mask_name=\{folder\}/\{name\}_mask"
    ):
        FolderDataModule(str(tmp_path / "deep"), classes=["a", "b"]).samples("train")
    with pytest.raises(SegmentError, match=r"data.classes=cell: expected a list"):
        FolderDataModule(str(tmp_path), classes="cell")


def test_folders_of_other_names_are_listed(tmp_path):
    save_pairs(tmp_path)
    (tmp_path / "images").rename(tmp_path / "photos")
    with pytest.raises(SegmentError, match=r"no folder .*images: .* has the folders: masks, photos. data.images= and"):
        FolderDataModule(str(tmp_path), classes=["a", "b", "c"]).samples("train")
