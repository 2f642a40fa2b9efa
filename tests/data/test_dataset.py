"""Reading, checking, drawing and sampling."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segment.data.classes import voc_palette
from segment.data.datasets.ade20k import ADE20K, ADE20KDataModule
from segment.data.datasets.camvid import CamVidDataModule
from segment.data.datasets.shapes import SHAPES, ShapesDataModule, draw
from segment.data.datasets.voc import VOC, VOCDataModule
from segment.data.doctor import examine
from segment.data.images import PNG, PngHeader, read_image
from segment.data.labels import Labels
from segment.data.samplers import Draw, EvalSampler, TrainSampler
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared, without_rows, write_pair


def test_voc_palette_is_the_devkits():
    """Spot values of VOClabelcolormap.m, and those that PASCAL's own masks carry."""
    assert voc_palette(256)[255] == (224, 224, 192)
    assert dict(zip(VOC.names, VOC.palette, strict=True))["person"] == (192, 128, 128)
    assert VOC.palette[20] == (0, 64, 128)


def test_ade20k_classes():
    assert len(ADE20K) == len(set(ADE20K.names)) == 150
    assert (ADE20K.names[0], ADE20K.palette[0]) == ("wall", (120, 120, 120))
    assert ADE20K.names[149] == "flag"


def test_voc_layout_and_its_three_roots(voc_root):
    for root in (voc_root, voc_root / "VOCdevkit", voc_root / "VOCdevkit" / "VOC2012"):
        data = VOCDataModule(str(root)).dataset("val")
        assert len(data) == 3
    path = voc_root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_00v1.png"
    item = data[1]
    assert item["id"] == "2007_00v1"
    assert np.array_equal(item["mask"].numpy(), np.array(Image.open(path)))
    assert item["image"].dtype == torch.uint8
    assert item["image"].shape[1:] == item["mask"].shape


def test_camvid_void_is_ignored(camvid_root):
    data = CamVidDataModule(str(camvid_root)).dataset("train")
    raw = np.array(Image.open(camvid_root / "trainannot" / "0001TP_000000.png"))
    assert 11 in raw
    assert np.array_equal(data[0]["mask"].numpy(), np.where(raw == 11, 255, raw))


def test_ade20k_zero_is_ignored_and_one_is_the_first_class(ade20k_root):
    base = ade20k_root / "ADEChallengeData2016"
    data = ADE20KDataModule(str(base)).dataset("val")
    raw = np.array(Image.open(base / "annotations" / "validation" / "ADE_val_00000001.png")).astype(int)
    assert {0, 1, 150} <= set(raw.flat)
    assert np.array_equal(data[0]["mask"].numpy(), np.where(raw == 0, 255, raw - 1))


@needs_shared
def test_real_files_keep_their_indices():
    voc = VOCDataModule(str(SHARED / "data" / "voc")).dataset("val")
    assert len(voc) == 200
    path = SHARED / "data/voc/VOCdevkit/VOC2012/SegmentationClass/2007_000033.png"
    assert np.array_equal(voc[0]["mask"].numpy(), np.array(Image.open(path)))
    assert set(voc[0]["mask"].unique().tolist()) == {0, 1, 255}  # aeroplanes, with their border
    assert len(CamVidDataModule(str(SHARED / "data" / "camvid")).dataset("train")) == 367
    ade = ADE20KDataModule(str(SHARED / "data" / "ade20k")).dataset("val")
    raw = np.array(Image.open(SHARED / "data/ade20k/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"))
    assert np.array_equal(ade[0]["mask"].numpy(), (raw - 1).astype(np.uint8))


# Faults: each is found, and the message names the file.


def voc_file(root: Path, folder: str, name: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / folder / name


def test_missing_root(tmp_path):
    with pytest.raises(SegmentError, match=r"no data set at data.root=.*nowhere.*VOCdevkit/VOC2012"):
        VOCDataModule(str(tmp_path / "nowhere")).setup("fit")


def test_list_missing_or_empty(voc_root):
    with pytest.raises(SegmentError, match=r"test2.txt is missing; lists found there: train, val"):
        VOCDataModule(str(voc_root)).dataset("test2")
    with pytest.raises(SegmentError, match=r"test.txt is missing: .* without masks, after registration"):
        VOCDataModule(str(voc_root)).dataset("test")
    voc_file(voc_root, "ImageSets", "Segmentation/val.txt").write_text("\n\n")
    with pytest.raises(SegmentError, match=r"val.txt is empty"):
        VOCDataModule(str(voc_root)).dataset("val")


def test_image_without_mask(voc_root):
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    with pytest.raises(SegmentError, match=r"2007_00v0.png is missing"):
        VOCDataModule(str(voc_root)).dataset("val")


def test_mask_of_another_size(voc_root):
    Image.new("P", (20, 30)).save(voc_file(voc_root, "SegmentationClass", "2007_00v2.png"))
    with pytest.raises(SegmentError, match=r"2007_00v2.png is 20x30, its image"):
        VOCDataModule(str(voc_root)).dataset("val")


def test_rgb_mask(voc_root):
    path = voc_file(voc_root, "SegmentationClass", "2007_00t3.png")
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(SegmentError, match=r"2007_00t3.png has mode RGB; expected one channel of class indices"):
        VOCDataModule(str(voc_root)).dataset("train")


def test_label_out_of_range(voc_root):
    write_pair(
        voc_file(voc_root, "JPEGImages", "2007_00v0.jpg"),
        voc_file(voc_root, "SegmentationClass", "2007_00v0.png"),
        np.full((20, 30), 21),
        0,
    )
    data = VOCDataModule(str(voc_root)).dataset("val")
    with pytest.raises(SegmentError, match=r"2007_00v0.png holds the label 21, .* labels are 0 to 20 and 255"):
        data[0]


def test_of_the_test_split_masks_may_be_missing(voc_root):
    voc_file(voc_root, "ImageSets", "Segmentation/test.txt").write_text("2007_00v0\n")
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    data = VOCDataModule(str(voc_root)).dataset("test")
    assert not data.has_masks
    assert (data[0]["mask"] == 255).all()


def test_nothing_is_trained_or_measured_without_masks(voc_root):
    path = voc_file(voc_root, "ImageSets", "Segmentation/test.txt")
    path.write_text("2007_00v0\n")
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    path.with_name("val.txt").write_text("2007_00v1\n")
    for splits in ({"train_split": "test"}, {"val_split": "test"}):
        data = VOCDataModule(str(voc_root), **splits)
        with pytest.raises(SegmentError, match=r"images of the split 'test' have no masks at data.root=.*Segmentation"):
            data.setup("fit")
        assert [p.kind for p in examine(data, ["train", "val", "test"]).problems] == ["no masks"]


def test_a_mask_of_one_bit(voc_root):
    path = voc_file(voc_root, "SegmentationClass", "2007_00v0.png")
    Image.open(path).convert("L").point(lambda value: 255 * (value == 1), mode="1").save(path)
    assert set(VOCDataModule(str(voc_root)).dataset("val")[0]["mask"].unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_jpeg_is_named_also_by_a_worker(voc_root, workers):
    path = voc_file(voc_root, "JPEGImages", "2007_00v1.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    module = VOCDataModule(str(voc_root), num_workers=workers)
    with pytest.raises(SegmentError) as error:
        list(module.eval_dataloader("val"))
    assert str(error.value).startswith(f"cannot read the image {path}")
    assert "Traceback" not in str(error.value)
    assert "\n" not in str(error.value)


# Reading


def test_images_of_many_kinds(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256 + 7).save(tmp_path / "deep.png")
    for name in ("grey.png", "deep.png"):
        assert np.array_equal(read_image(tmp_path / name).numpy(), np.stack([grey] * 3))
    Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8), mode="CMYK").save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (3, 8, 8)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PNG"])
def test_images_that_are_no_jpegs_in_spite_of_their_name(tmp_path, kind):
    values = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    if kind == "PNG":  # of 16 bits: torchvision gives them as they are
        Image.fromarray(values[..., 0].astype(np.uint16) * 256).save(tmp_path / "image.jpg", format=kind)
        values = values[..., [0, 0, 0]]
    else:
        Image.fromarray(values).save(tmp_path / "image.jpg", format=kind, lossless=True)
    assert np.array_equal(read_image(tmp_path / "image.jpg").permute(1, 2, 0).numpy(), values)


def test_damaged_images_are_refused_in_one_line(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for name, damage in (
        ("cut.jpg", lambda content: content[: len(content) // 2]),
        ("cut.png", lambda content: content[: len(content) // 2]),
        ("bit.png", lambda content: content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]),
    ):
        picture.save(tmp_path / name)
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
        with pytest.raises(SegmentError, match=rf"^cannot read the image .*{name}: [^\n]*$") as error:
            read_image(tmp_path / name)
        assert ".cpp" not in str(error.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_have_all_their_rows_or_are_refused(tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 256, (13, 11), dtype=np.uint8)
    image = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, 13, 11)
    (tmp_path / "a.png").write_bytes(without_rows((tmp_path / "a.png").read_bytes()))
    with pytest.raises(SegmentError, match=r"^cannot read the image .*a.png: it is damaged: \d+ bytes of its pixels"):
        read_image(tmp_path / "a.png")
    labels = Labels({(1, 2, 3): 0} if mode == "RGB" else {0: 0})
    with pytest.raises(SegmentError, match=r"^cannot read the mask .*a.png: it is damaged: \d+ bytes of its pixels"):
        labels.read(tmp_path / "a.png")  # which would end the process where torchvision read it


def test_rows_of_an_interlaced_png():
    """The bytes that the seven pictures of Adam7 take, by the PNG specification's table (section 8.2)."""
    for width, height in ((8, 8), (1, 1), (5, 3), (2, 9), (13, 11)):
        table = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
        passes = np.array([[int(table[y % 8][x % 8]) for x in range(width)] for y in range(height)])
        length = 0
        for number in range(1, 8):
            rows = (passes == number).sum(1)
            length += sum(1 + 3 * count for count in rows if count)
        head = b"".join(n.to_bytes(4, "big") for n in (width, height)) + bytes([8, 2, 0, 0, 1])
        assert PngHeader.from_bytes(PNG + bytes(8) + head).row_bytes() == length


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"short_side": 0},
        {"short_side": -5},
        {"elastic": float("inf")},
        {"rotation": float("nan")},
        {"crop_size": 5},
        {"crop_size": (32.5, 32)},
        {"scale": 5},
        {"scale": (1, float("inf"))},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense(options):
    with pytest.raises(SegmentError, match=r"^data: expected .* but got .*$"):
        ShapesDataModule(**options)


def test_a_root_by_way_of_a_link_or_of_dots(voc_root, tmp_path, monkeypatch):
    base = voc_root / "VOCdevkit" / "VOC2012"
    (tmp_path / "link").symlink_to(base)
    monkeypatch.chdir(base / "JPEGImages")
    for root in (tmp_path / "link", "..", "../.."):
        assert len(VOCDataModule(str(root)).dataset("val")) == 3


@pytest.mark.parametrize(
    "line",
    [
        "/my data/v1.0 x/{0}/{1} /my data/v1.0 x/{0}annot/{1}",
        "C:\\SegNet\\{0}\\{1} C:\\SegNet\\{0}annot\\{1}",
        "\ufeff{0}/{1}\t{0}annot/{1}",
        "# mine\n{0}/{1}  {0}annot/{1}\r",
    ],
)
def test_camvid_lists_as_people_have_them(camvid_root, line):
    (camvid_root / "train.txt").write_text(line.format("train", "0001TP_000000.png") + "\n", "utf-8")
    assert len(CamVidDataModule(str(camvid_root)).dataset("train")) == 1
    (camvid_root / "train.txt").write_text("train/x.png\n")
    with pytest.raises(SegmentError, match="expected 'IMAGE MASK' in each line"):
        CamVidDataModule(str(camvid_root)).samples("train")
    (camvid_root / "train.txt").write_bytes("b\u00fccher.png".encode("latin-1"))
    with pytest.raises(SegmentError, match=r"train.txt is no UTF-8 text"):
        CamVidDataModule(str(camvid_root)).samples("train")


def test_exif_turns_the_image_upright(tmp_path):
    image, exif = Image.new("RGB", (40, 20), "red"), Image.Exif()
    image.paste("blue", (0, 0, 8, 20))
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    for name in ("photo.jpg", "photo.png"):
        image.save(tmp_path / name, exif=exif)
        upright = read_image(tmp_path / name)
        assert upright.shape == (3, 40, 20)
        assert upright[2, :6].float().mean() > 200
        assert upright[0, 10:].float().mean() > 200


# Shapes


def test_shapes_are_a_function_of_seed_split_and_index():
    first, again, other = (ShapesDataModule(8, 8, 8, seed=seed) for seed in (0, 0, 1))
    for split in ("train", "val", "test"):
        assert torch.equal(first.dataset(split)[3]["image"], again.dataset(split)[3]["image"])
        # Whatever the seed, a run is measured on the same images.
        assert torch.equal(first.dataset(split)[3]["image"], other.dataset(split)[3]["image"]) == (split != "train")
    assert not torch.equal(first.dataset("train").load(0)[0][:, :90, :90], first.dataset("val").load(0)[0][:, :90, :90])


def test_shapes_are_voc_like():
    pairs = [draw(np.random.default_rng(i)) for i in range(60)]
    assert len({image.shape for image, _ in pairs}) > 40
    assert all(image.shape[:2] == mask.shape for image, mask in pairs)
    values = np.concatenate([mask.ravel() for _, mask in pairs])
    assert set(np.unique(values)) == {*range(len(SHAPES)), 255}
    for _, mask in pairs:  # void lies between any two labels: nowhere do two of them touch
        for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert not ((a != b) & (a != 255) & (b != 255)).any()


def test_colour_alone_does_not_solve_shapes():
    """The most likely class of each of 16^3 colours, learned on 300 images, stays below 0.40 mIoU."""
    table = np.zeros((4096, 6))

    def pixels(split: int, count: int):
        pairs = [draw(np.random.default_rng([0, split, i])) for i in range(count)]
        colour = np.concatenate([(image // 16).reshape(-1, 3) @ [256, 16, 1] for image, _ in pairs])
        label = np.concatenate([mask.ravel() for _, mask in pairs])
        return colour[label != 255], label[label != 255]

    np.add.at(table, pixels(0, 300), 1)
    colour, truth = pixels(1, 60)
    for weights in (1.0, 1 / table.sum(0)):  # as frequent as they are, and all classes alike
        guess = (table * weights).argmax(1)[colour]
        iou = [((guess == c) & (truth == c)).sum() / ((guess == c) | (truth == c)).sum() for c in range(6)]
        assert np.mean(iou) < 0.40


# Sampling and loading


def test_training_order_is_shared_out_without_repeats():
    per_rank = []
    for rank in range(2):
        sampler = TrainSampler(21, batch_size=5, seed=0, rank=rank, world_size=2)
        sampler.set_epoch(3)
        assert len(list(sampler)) == len(sampler) == 10
        per_rank.append([draw.sample for draw in sampler])
    assert len({*per_rank[0], *per_rank[1]}) == 20
    sampler.set_epoch(4)
    assert [draw.sample for draw in sampler] != per_rank[1]


def test_a_data_set_smaller_than_a_batch_fills_it():
    assert [draw.sample for draw in TrainSampler(2, batch_size=4, seed=0)].count(0) == 2
    data = ShapesDataModule(train_size=2, batch_size=8, crop_size=(24, 24), num_workers=0)
    images = next(iter(data.train_dataloader()))["image"]
    assert len({image.numpy().tobytes() for image in images}) == 8  # each repetition is cropped anew


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_counts_each_image_once(world_size):
    draws = [list(EvalSampler(5, rank, world_size)) for rank in range(world_size)]
    assert len({len(share) for share in draws}) == 1
    assert sorted(d.sample for share in draws for d in share if not d.padding) == list(range(5))


def test_padding_is_all_void(voc_root):
    data = VOCDataModule(str(voc_root)).dataset("val")
    assert (data[Draw(0, padding=True)]["mask"] == 255).all()


def test_equal_batches_for_any_number_of_workers(voc_root):
    def batches(workers: int):
        torch.manual_seed(workers)
        module = VOCDataModule(str(voc_root), batch_size=2, num_workers=workers, crop_size=(40, 48), colour=0.5)
        module.setup("fit")
        return list(module.train_dataloader())

    plain, parallel = batches(0), batches(2)
    assert len(plain) == 2
    for a, b in zip(plain, parallel, strict=True):
        assert a["id"] == b["id"]
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["mask"], b["mask"])


def test_augmentation_leaves_the_training_processs_generator_alone(voc_root):
    data = VOCDataModule(str(voc_root), crop_size=(20, 20)).dataset("train", augment=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = data[Draw(0, epoch=0)], data[Draw(0, epoch=1)]
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(first["image"], second["image"])
