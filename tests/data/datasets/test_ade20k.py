"""ADE20K: labels, stuff, scenes, and the full release, which is another data set."""

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.ade20k import ADE20K, ADE20KDataModule
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared


def test_classes():
    assert len(ADE20K) == len(set(ADE20K.names)) == 150
    assert (ADE20K.names[0], ADE20K.palette[0]) == ("wall", (120, 120, 120))
    assert ADE20K.names[149] == "flag"


def test_value_0_is_ignored_and_1_is_the_first_class(ade20k_root):
    base = ade20k_root / "ADEChallengeData2016"
    data = ADE20KDataModule(str(base)).dataset("val")
    raw = np.array(Image.open(base / "annotations" / "validation" / "ADE_val_00000001.png")).astype(int)
    assert {0, 1, 150} <= set(raw.flat)
    assert np.array_equal(data[0]["mask"].numpy(), np.where(raw == 0, 255, raw - 1))


def test_stuff_and_scenes(ade20k_root):
    assert {"wall", "sky", "road"} <= ADE20K.stuff
    assert not {"person", "car"} & ADE20K.stuff
    lines = "ADE_train_00000001 living room\nADE_val_00000002 street\n"
    (ade20k_root / "ADEChallengeData2016" / "sceneCategories.txt").write_text(lines)
    scenes = ADE20KDataModule(str(ade20k_root)).scenes()
    (ade20k_root / "ADEChallengeData2016" / "sceneCategories.txt").write_text("ADE_train_00000001\n")
    with pytest.raises(SegmentError, match="expected 'ID SCENE' in each line, but one reads 'ADE_train_00000001'"):
        ADE20KDataModule(str(ade20k_root)).scenes()
    assert scenes == {"ADE_train_00000001": "living room", "ADE_val_00000002": "street"}


@pytest.mark.parametrize("place", ["images/ADE/training/urban/street", "images/training/s/street"])
@pytest.mark.parametrize("root", ["", "ADE20K_2021_17_01"])
def test_the_full_release_is_recognised(tmp_path, place, root):
    folder = tmp_path / "ADE20K_2021_17_01" / place
    folder.mkdir(parents=True)
    for name in ("ADE_train_00016869.jpg", "ADE_train_00016869_seg.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    with pytest.raises(SegmentError, match=r"holds the full ADE20K release, .* get ADEChallengeData2016.zip"):
        ADE20KDataModule(str(tmp_path / root)).setup("fit")


def test_a_full_release_under_the_challenges_name(tmp_path):
    (tmp_path / "ADEChallengeData2016" / "images" / "ADE").mkdir(parents=True)
    for data in (ADE20KDataModule(str(tmp_path)), ADE20KDataModule(str(tmp_path), download=True)):
        with pytest.raises(SegmentError, match=r"full ADE20K release, .* rename .*ADEChallengeData2016 and get ADECh"):
            data.prepare_data() or data.setup("fit")


@needs_shared
def test_real_files_keep_their_values():
    data = ADE20KDataModule(str(SHARED / "data" / "ade20k")).dataset("val")
    raw = np.array(Image.open(SHARED / "data/ade20k/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"))
    assert np.array_equal(data[0]["mask"].numpy(), (raw - 1).astype(np.uint8))
