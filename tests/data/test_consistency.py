"""Files of one data set that disagree: palettes, grey beside palettes, depths, bands, EXIF."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.consistency import find_bits, header_notes, palette_problem
from segment.data.datasets.folder import FolderDataModule
from segment.data.doctor import examine
from segment.data.images import Reading
from segment.data.labels import index_labels
from segment.data.pairs import Sample, check_headers, read_headers
from segment.errors import SegmentError
from tests.data.tiffs import png, tiff

VALUES = np.array([[0, 1, 2], [2, 0, 1]], np.uint8).repeat(8, 0).repeat(8, 1)
RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)


def palette_mask(colours: Sequence[tuple[int, int, int]], values: np.ndarray = VALUES) -> Image.Image:
    mask = Image.fromarray(values)
    mask.putpalette([value for colour in colours for value in colour])
    return mask


def folder(root: Path, masks: Sequence[Image.Image], suffix: str = ".png", **options) -> FolderDataModule:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i, mask in enumerate(masks):
        Image.fromarray(np.full((16, 24, 3), 20 * i, np.uint8)).save(root / f"images/{i}.png")
        mask.save(root / f"masks/{i}{suffix}")
    return FolderDataModule(str(root), **{"classes": ["a", "b", "c"], "num_workers": 0, **options})


def problem(data: FolderDataModule) -> str | None:
    """Return the reason why training refuses the data set; segment.check has to give the same."""
    said = None
    try:
        data.setup("fit")
    except SegmentError as error:
        said = str(error)
    assert [one.message for one in examine(data, ["train", "val"]).problems] == ([said] if said else [])
    return said


BLACK = (0, 0, 0)
DISAGREE = {
    "two colours change places": [palette_mask([BLACK, RED, BLUE]), palette_mask([BLACK, BLUE, RED])],
    "one colour is another": [palette_mask([BLACK, RED, BLUE]), palette_mask([BLACK, RED, GREEN])],
    "grey and palette": [palette_mask([BLACK, RED, BLUE]), Image.fromarray(VALUES)],
    "grey of one bit and palette": [palette_mask([BLACK, RED]), Image.fromarray(VALUES > 0)],
}
AGREE = {
    "one palette is longer": [palette_mask([BLACK, RED, BLUE]), palette_mask([BLACK, RED, BLUE, GREEN])],
    "unused entries differ": [
        palette_mask([BLACK, RED, BLUE, GREEN]),
        palette_mask([BLACK, RED, BLUE, RED]),
        palette_mask([BLACK, GREEN, BLUE], VALUES // 2 * 2),
    ],
    "a palette of greys, filled up with black": [
        palette_mask([(i, i, i) for i in range(9)] + [BLACK] * 247),
        Image.fromarray(VALUES),
    ],
    "a palette of greys": [palette_mask([(i, i, i) for i in range(256)]), Image.fromarray(VALUES)],
}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("case", DISAGREE)
def test_masks_that_disagree_are_refused_with_the_way_on(tmp_path, case, suffix):
    first, *others = DISAGREE[case]
    message = problem(folder(tmp_path, [first] * 5 + others, suffix))
    assert message is not None
    assert all(word in message for word in ("data.classes", "data.palette=indices", f"masks/5{suffix}"))


def test_grey_masks_disagree_with_palettes_also_by_values_that_the_others_lack(tmp_path):
    masks = [palette_mask([BLACK, RED], VALUES // 2), Image.fromarray(VALUES // 2 * 2)] * 3
    assert re.search(
        r"0.png is a mask of grey values|1.png is a mask of grey values", str(problem(folder(tmp_path, masks)))
    )


@pytest.mark.parametrize("case", AGREE)
def test_length_and_unused_entries_of_palettes_do_not_count(tmp_path, case):
    first, *others = AGREE[case]
    assert problem(folder(tmp_path, [first] * 3 + others)) is None


@pytest.mark.parametrize("case", DISAGREE)
def test_stored_values_are_labels_if_that_is_said(tmp_path, case):
    first, *others = DISAGREE[case]
    data = folder(tmp_path, [first] * 3 + others, palette="indices")
    assert problem(data) is None
    labels = [data.dataset(split).load(i)[1] for split in ("train", "val") for i in range(len(data.dataset(split)))]
    assert all(np.array_equal(one, VALUES) or np.array_equal(one, VALUES > 0) for one in labels)


def test_colours_decide_if_there_is_a_table_of_them(tmp_path):
    first, second = DISAGREE["two colours change places"]
    data = folder(tmp_path, [first, second] * 2, classes={"0/0/0": "a", "200/0/0": "b", "0/0/200": "c"})
    assert problem(data) is None
    for i, sample in enumerate(data.dataset("train").samples):
        swapped = int(sample.id) % 2
        assert np.array_equal(data.dataset("train").load(i)[1], np.array([0, 2, 1] if swapped else [0, 1, 2])[VALUES])


def test_masks_are_decoded_only_where_palettes_differ(tmp_path, monkeypatch):
    read = []
    original = FolderDataModule.labels.fget(folder(tmp_path, [palette_mask([BLACK, RED, BLUE])] * 5)).read_values
    data = FolderDataModule(str(tmp_path), {0: "a", 1: "b", 2: "c"}, num_workers=0)
    monkeypatch.setattr(data.labels, "read_values", lambda path: read.append(path) or original(path))
    assert data.palette_problem(check_headers(data.samples("train"), data.labels, data.reading)) is None
    assert read == []


def test_another_word_for_the_palette(tmp_path):
    with pytest.raises(SegmentError, match=r"data.palette=colours: expected indices, or null"):
        FolderDataModule(str(tmp_path), ["a", "b"], palette="colours")


def deep_folder(root: Path, largest: Sequence[int], **options) -> FolderDataModule:
    data = folder(root, [Image.fromarray(VALUES)] * len(largest), **options)
    for i, value in enumerate(largest):
        pixels = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24, 1) + np.uint16(i)
        pixels[0, 0] = value
        (root / f"images/{i}.png").unlink()
        content = (
            tiff(pixels, photometric=1) if i % 3 == 0 else png(np.repeat(pixels, 3, 2) if i % 3 == 1 else pixels, 16)
        )
        (root / f"images/{i}.tif").write_bytes(content)
    return data


@pytest.mark.parametrize(
    ("largest", "bits"), [(1000, 10), (1024, 12), (4095, 12), (4096, 14), (2**14, 16), (2**16 - 1, 16)]
)
def test_the_depth_is_found_for_all_images_at_once(tmp_path, capsys, largest, bits):
    data = deep_folder(tmp_path, [700, 800, 900, 700, largest, 700])
    data.setup("fit")
    assert data.settings()["bits"] == bits
    noted = f"note: images of 16 bits are read as of {bits}" in capsys.readouterr().out
    assert noted == (bits < 16)
    for split in ("train", "val"):
        dataset = data.dataset(split)
        for i, sample in enumerate(dataset.samples):
            row = (np.arange(24) + int(sample.id) + 24) >> (bits - 8)
            assert np.array_equal(dataset.load(i)[0][:, 1], np.stack([row] * 3))


def test_segment_check_notes_the_depth_and_reads_by_it(tmp_path):
    report = examine(deep_folder(tmp_path, [2000] * 6), ["train", "val"])
    assert report.problems == []
    assert [note.kind for note in report.notes] == ["bits"]
    assert "data.bits=12" in report.notes[0].message


def test_values_beyond_a_given_depth_are_refused(tmp_path):
    data = deep_folder(tmp_path, [2000] * 6, bits=10)
    with pytest.raises(SegmentError, match=r"holds 2000, and data.bits=10 means 0 to 1023"):
        data.dataset("train").load(0)


def test_images_of_8_bits_have_no_depth(tmp_path):
    data = folder(tmp_path, [Image.fromarray(VALUES)] * 4)
    data.setup("fit")
    assert data.settings()["bits"] is None


def test_more_than_three_bands_are_named_until_they_are_chosen(tmp_path, capsys):
    data = folder(tmp_path, [Image.fromarray(VALUES)] * 4)
    for i in range(4):
        (tmp_path / f"images/{i}.png").unlink()
        (tmp_path / f"images/{i}.tif").write_bytes(tiff(np.full((16, 24, 4), i, np.uint8)))
    report = examine(data, ["train", "val"])
    assert [*report.problems, *[note.kind for note in report.notes]] == ["bands"]
    data.setup("fit")
    assert re.search(r"note: 3 of 3 images, such as .*, have more bands than red, green", capsys.readouterr().out)
    options = {"classes": ["a", "b", "c"], "num_workers": 0}
    FolderDataModule(str(tmp_path), bands=[3, 0, 1], **options).setup("fit")
    assert "note" not in capsys.readouterr().out
    with pytest.raises(SegmentError, match=r"has the bands 0 to 3, and data.bands=\[4, 0, 1\]"):
        FolderDataModule(str(tmp_path), bands=[4, 0, 1], **options).setup("fit")


def test_two_bands_have_a_note_of_their_own(tmp_path):
    for i, bands in enumerate((1, 2, 4)):
        (tmp_path / f"{i}.tif").write_bytes(tiff(np.zeros((4, 4, bands), np.uint8), photometric=1))
    samples = [Sample(str(i), tmp_path / f"{i}.tif", None) for i in range(3)]
    notes = header_notes({sample: read_headers(sample) for sample in samples}, Reading())
    assert [note.message.partition(":")[0] for note in notes] == [
        f"1 of 3 images, such as {tmp_path / '2.tif'}, have more bands than red, green and blue",
        f"1 of 3 images, such as {tmp_path / '1.tif'}, have two bands",
    ]


GREY_GIFS = {
    "0 and 2": (np.minimum(VALUES, 1) * 2, None),
    "2 alone": (VALUES * 0 + 2, None),
    "255 alone": (VALUES * 0 + 255, None),
    "0, 128 and 255": (np.array([0, 128, 255], np.uint8)[VALUES], None),
    "0, 1 and 2": (VALUES, [0, 1, 2]),
    "0 alone": (VALUES * 0, [0]),
}


@pytest.mark.parametrize("case", GREY_GIFS)
def test_gifs_whose_grey_values_were_renumbered_are_refused(tmp_path, case):
    values, found = GREY_GIFS[case]
    Image.fromarray(values).save(tmp_path / "a.gif")
    headers = {(sample := Sample("a", tmp_path / "a.gif", tmp_path / "a.gif")): read_headers(sample)}
    refused = palette_problem(headers, index_labels(3))
    assert (refused is None) == (found is not None)
    if refused is None:
        assert np.unique(index_labels(3).read_values(tmp_path / "a.gif")).tolist() == found
    else:
        assert re.search("a.gif is a GIF that may number its grey values anew: .*data.palette=indices", refused.message)


def test_a_palette_of_black_and_white_holds_indices(tmp_path):
    for suffix in (".png", ".gif"):
        masks = [palette_mask([BLACK, (255, 255, 255)], VALUES // 2)] * 4
        data = folder(tmp_path / suffix, masks, suffix, classes=["a", "b"])
        data.setup("fit")
        assert np.array_equal(data.dataset("train")[0]["mask"], VALUES // 2)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
@pytest.mark.parametrize("colours", [[BLACK, (255, 255, 255)], [BLACK, RED], [BLACK, (1, 1, 1)]])
def test_a_mask_without_an_object_may_have_black_alone_in_its_palette(tmp_path, suffix, colours):
    masks = [palette_mask(colours, VALUES // 2), palette_mask([BLACK], VALUES * 0)] * 3
    assert problem(folder(tmp_path, masks, suffix, classes=["a", "b"])) is None


def test_a_second_black_is_another_colour(tmp_path):
    masks = [palette_mask([BLACK, RED], VALUES // 2), palette_mask([BLACK, BLACK], VALUES // 2)] * 3
    assert "as 200/0/0 and 0/0/0" in str(problem(folder(tmp_path, masks, classes=["a", "b"])))


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 6])
def test_turns_that_may_not_be_the_masks_are_named(tmp_path, orientation):
    """Turns that keep the size. Of others, the sizes tell which pixels the mask is drawn on."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    wide = Image.fromarray(VALUES if orientation < 5 else np.ascontiguousarray(VALUES.T))
    data = folder(tmp_path, [wide] * 4)
    for i in range(4):
        image = tmp_path / f"images/{i}.png"
        Image.open(image).save(image, exif=exif)
    report = examine(data, ["train", "val"])
    assert report.problems == []
    assert [note.kind for note in report.notes] == ["EXIF"] * (1 < orientation < 5)
    settled = FolderDataModule(str(tmp_path), ["a", "b", "c"], mask_exif="image")
    assert "EXIF" not in {note.kind for note in examine(settled, ["train", "val"]).notes}


def test_masks_that_are_turned_alone_are_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = folder(tmp_path, [Image.fromarray(VALUES)] * 4)
    mask = tmp_path / "masks/2.png"
    Image.open(mask).save(mask, exif=exif)
    [note] = [note for note in examine(data, ["train", "val"]).notes if note.kind == "mask EXIF"]
    assert re.search(r"^1 of 4 images, such as .*2.png, have masks with an EXIF orientation, which turns", note.message)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_further_frames_are_named(tmp_path, suffix):
    frames = [Image.fromarray(VALUES * n) for n in (40, 80)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / f"b{suffix}")
    headers = {(sample := Sample(name, tmp_path / f"{name}{suffix}", None)): read_headers(sample) for name in "ab"}
    [note] = [note for note in header_notes(headers, Reading()) if note.kind == "frames"]
    assert note.message == (
        f"1 of 2 images, such as {tmp_path}/a{suffix}, have several pages or frames: the first one is read"
    )


@pytest.mark.parametrize("options", [{"bands": [0, 1]}, {"bands": [0, 1, -1]}, {"bits": 17}, {"mask_exif": "raw"}])
def test_choices_that_make_no_sense(options):
    with pytest.raises(SegmentError, match=r"^data: expected bands=\[RED,GREEN,BLUE\]"):
        FolderDataModule("x", ["a", "b"], **options)


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert find_bits([tmp_path / "a.png"], Reading()) is None
