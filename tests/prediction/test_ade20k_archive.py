"""Archives for ADE20K's server: how they are written, and each fault that has to be found in one."""

import re
import zipfile

import numpy as np
import pytest
import torch

from segment.data.datasets.ade20k import ADE20KDataModule
from segment.errors import SegmentError
from segment.prediction.ade20k_archive import ade20k_faults, write_ade20k_archive
from tests.conftest import write_pair
from tests.prediction.test_voc_archive import png

SIZES = {"ADE_test_00000001": (50, 40), "ADE_test_00000002": (33, 47)}
ONE, OTHER = (f"{name}.png" for name in SIZES)
GOOD = png(np.full((40, 50), 150), "L")
FAULTS = {
    # the members in place of the first mask, and the fault that has to be found
    "missing": ([], "missing image: ADE_test_00000001.png is missing: the split has 2 images"),
    "extra": ([(ONE, GOOD), ("ADE_val_00000001.png", GOOD)], "extra image: ADE_val_00000001.png is no image of the"),
    "folder": ([(ONE, GOOD), (f"masks/{ONE}", GOOD)], "layout: masks/ADE_test_00000001.png: expected ID.png, in no"),
    "suffix": ([(ONE, GOOD), ("a.jpg", GOOD)], "layout: a.jpg: expected ID.png"),
    "twice": ([(ONE, GOOD), (ONE, GOOD)], "duplicate: ADE_test_00000001.png is in the archive more than once"),
    "size": ([(ONE, png(np.ones((50, 40)), "L"))], "size: ADE_test_00000001.png is 40x50, its image 50x40"),
    "zero": ([(ONE, png(np.arange(2000).reshape(40, 50) % 3, "L"))], "other: .* has label 0, which is for the ground"),
    "range": ([(ONE, png(np.full((40, 50), 151), "L"))], "label: .* has label 151: expected 1 to 150"),
    "colours": ([(ONE, png(np.ones((40, 50)), "RGB"))], "mode: .* has mode RGB: expected class indices"),
    "broken": ([(ONE, GOOD[:60])], "unreadable: ADE_test_00000001.png is not a readable PNG"),
}


def pack(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def found(path) -> str:
    return "".join(f"{fault.kind}: {fault.message}\n" for fault in ade20k_faults(path, SIZES))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(tmp_path, fault):
    instead, expected = FAULTS[fault]
    faults = found(pack(tmp_path / "a.zip", [*instead, (OTHER, png(np.ones((47, 33))))]))
    assert re.search(expected, faults, re.MULTILINE)
    assert faults.count("\n") == 1, "and no other"


def test_files_that_are_no_complete_archives(tmp_path):
    good = pack(tmp_path / "good.zip", [(ONE, GOOD), (OTHER, png(np.ones((47, 33))))])
    assert found(good) == ""
    content = good.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[:-30])
    assert found(tmp_path / "cut.zip").startswith(
        "archive: cut.zip is not a complete .zip: reading failed after 0 files"
    )
    (tmp_path / "bad.zip").write_bytes(content.replace(b"IDAT", b"IDAX", 1))
    assert "archive: bad.zip is not a complete .zip: reading failed after 1 files: Bad CRC-32" in found(
        tmp_path / "bad.zip"
    )


def test_an_archive_is_written_only_without_faults(ade20k_root, tmp_path, capsys):
    data = ADE20KDataModule(str(ade20k_root))
    with pytest.raises(SegmentError, match=r"no test images at data.root=.*: expected release_test/testing/\*.jpg"):
        data.dataset("test")
    for name, (width, height) in SIZES.items():
        write_pair(ade20k_root / f"release_test/testing/{name}.jpg", tmp_path / "u.png", np.zeros((height, width)), 0)
    target = tmp_path / "results.zip"
    with pytest.raises(
        SegmentError, match=r"ADE20K's server would refuse the archive: .* has label 200: expected 1 to"
    ):
        write_ade20k_archive(lambda image: torch.full(image.shape[1:], 199), data, "test", target)
    assert not list(tmp_path.glob("results*"))
    write_ade20k_archive(lambda image: torch.full(image.shape[1:], 0), data, "test", target)
    assert found(target) == ""
    assert "results.zip has 2 masks\n" in capsys.readouterr().out
