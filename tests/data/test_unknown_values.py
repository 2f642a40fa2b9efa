"""Values of masks that no class has are listed once, all of them, as a table to paste."""

import shlex

import numpy as np
import pytest
from PIL import Image

from segment.cli.config import load_config
from segment.data.datasets.folder import FolderDataModule
from segment.data.doctor import examine
from segment.data.labels import index_labels
from segment.data.unknown_values import UnknownValues, count_unknown, unknown_message
from segment.errors import SegmentError

COLOURS = np.array([(0, 0, 0), (128, 64, 128), (220, 20, 60), (0, 0, 142)], np.uint8)
GIVEN = {"0/0/0": "ground", "128/64/128": "road"}
TABLE = """\
    220/20/60: NAME1  # 25 % of the pixels, masks: 4, such as {0}/masks/0.png
    0/0/142: NAME2  # 6.25 % of the pixels, masks: 1, such as {0}/masks/3.png
  'data.classes={{0/0/0:ground,128/64/128:road,220/20/60:NAME1,0/0/142:NAME2}}'"""


@pytest.fixture
def coloured(tmp_path):
    """Four masks of four pixels each; the last one has a second unknown colour."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            values = [[0, 1, 2, 3 if i == 3 else 0]]
            colours = COLOURS if kind == "masks" else COLOURS + np.uint8(i)
            Image.fromarray(colours[values]).save(tmp_path / kind / f"{i}.png")
    for split, names in (("train", "0\n1\n3\n"), ("val", "2\n")):
        (tmp_path / f"{split}.txt").write_text(names)
    return tmp_path


def test_check_lists_all_unknown_colours_once(coloured):
    report = examine(FolderDataModule(str(coloured), GIVEN), ["train", "val"])
    assert [problem.kind for problem in report.problems] == ["unknown values"]
    head, _, table = report.problems[0].message.partition("\n")
    assert head == "the masks have 2 colours that data.classes does not name: give each a NAME, or void to ignore it"
    assert table == TABLE.format(coloured)


def test_training_lists_those_of_its_split(coloured, main):
    with pytest.raises(SystemExit) as end:
        main("train", "data=folder", f"data.root={coloured}", "data.classes={0/0/0:ground,128/64/128:road}")
    lines = str(end.value.code).splitlines()
    assert lines[0].startswith("error: the masks have 2 colours that data.classes does not name")
    assert lines[1].startswith("    220/20/60: NAME1  # 25 % of the pixels, masks: 3")
    assert lines[3] == TABLE.format(coloured).splitlines()[2]
    assert len(lines) == 4


def test_the_pasted_table_reads_the_masks(coloured):
    classes = GIVEN | {"220/20/60": "person", "0/0/142": "void"}
    assert examine(FolderDataModule(str(coloured), classes), ["train", "val"]).problems == []


def test_labels_of_a_list_and_of_a_published_data_set(tmp_path):
    Image.fromarray(np.array([[0, 1, 5, 5]], np.uint8)).save(tmp_path / "1.png")
    masks = [tmp_path / "1.png", tmp_path / "none.png"]
    labels = FolderDataModule("x", ["a", "b"]).labels
    message = unknown_message(count_unknown(masks, labels), labels, 4)
    assert f"\n    5: NAME1  # 50 % of the pixels, masks: 1, such as {tmp_path}/1.png\n" in message
    assert message.endswith("  'data.classes={0:a,1:b,255:void,5:NAME1}'")
    published = unknown_message(count_unknown(masks, index_labels(2)), index_labels(2), 4)
    assert published.startswith("the masks have 1 label that this data set lacks, which has 0 to 1 and 255: are they")
    assert published.endswith(f"\n    5  # 50 % of the pixels, masks: 1, such as {tmp_path}/1.png")


def test_many_values_are_cut_and_two_classes_may_be_soft(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "1.png")
    labels = FolderDataModule("x", {0: "a", 255: "b"}).labels
    message = unknown_message(count_unknown([tmp_path / "1.png"], labels), labels, 256)
    assert "254 labels that data.classes does not name" in message.splitlines()[0]
    assert message.splitlines()[0].endswith("data.threshold=128 reads soft or lossy masks of two classes")
    *lines, more, table = message.splitlines()
    assert (len(lines), more) == (41, "    # and 214 more")
    assert table.endswith("254:NAME254}'")  # all can be pasted, though not all are explained
    labels = FolderDataModule("x", {0: "Mann's", 255: 'a: "b"'}).labels
    table = unknown_message([UnknownValues(tmp_path, {7: 1}, 9)], labels, 9).splitlines()[-1]
    [pasted] = shlex.split(table)
    assert load_config(["data=folder", pasted]).data.classes == {0: "Mann's", 255: 'a: "b"', 7: "NAME1"}
    colours = FolderDataModule("x", {"0/0/0": "a", "9/9/9": "b"}).labels
    message = unknown_message([UnknownValues(tmp_path, dict.fromkeys(range(300), 1), 300)], colours, 300)
    assert message.endswith("    # and 260 more")


def test_nothing_is_written_before_the_masks_are_known(coloured):
    with pytest.raises(SegmentError, match=r"2 colours that data.classes does not name"):
        FolderDataModule(str(coloured), GIVEN).dataset("train")
