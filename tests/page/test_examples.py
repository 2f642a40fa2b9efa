"""Examples: evenly spaced images of the validation split, copied."""

import pytest
from PIL import Image

from segment.cli.config import load_config, plain
from segment.errors import SegmentError
from segment.page.examples import EXAMPLES_SHOWN, find_examples


def test_drawn_shapes(tmp_path):
    paths = find_examples({"_target_": "segment.data.ShapesDataModule", "val_size": 8}, tmp_path)
    assert [path.name for path in paths] == [
        "00000.png",
        "00001.png",
        "00003.png",
        "00004.png",
        "00006.png",
        "00007.png",
    ]
    assert {Image.open(path).format for path in paths} == {"PNG"}
    assert len(paths) == EXAMPLES_SHOWN


def test_files_that_a_browser_shows(tmp_path, folder_root):
    config = plain(load_config(["data=folder", f"data.root={folder_root}", "data.classes=[background,a,b]"]).data)
    Image.new("RGB", (9, 9)).save(folder_root / "val" / "images" / "1.tif")
    (folder_root / "val" / "images" / "1.jpg").unlink()
    (tmp_path / "copies").mkdir()
    paths = find_examples(config, tmp_path / "copies")
    assert [path.name for path in paths] == ["0.jpg", "2.jpg"]
    assert paths[0].read_bytes() == (folder_root / "val" / "images" / "0.jpg").read_bytes()


def test_no_data(tmp_path):
    config = plain(load_config(["data=voc", "data.root=nowhere"]).data)
    with pytest.raises((SegmentError, OSError)):
        find_examples(config, tmp_path)
