"""CamVid in the layout of SegNet's authors."""

import numpy as np
import pytest
from PIL import Image

from segment.data.datasets.camvid import CamVidDataModule
from segment.errors import SegmentError
from tests.conftest import SHARED, needs_shared


def test_void_is_ignored(camvid_root):
    data = CamVidDataModule(str(camvid_root)).dataset("train")
    raw = np.array(Image.open(camvid_root / "trainannot" / "0001TP_000000.png"))
    assert 11 in raw
    assert np.array_equal(data[0]["mask"].numpy(), np.where(raw == 11, 255, raw))


@pytest.mark.parametrize(
    "line",
    [
        "/my data/v1.0 x/{0}/{1} /my data/v1.0 x/{0}annot/{1}",
        "C:\\SegNet\\{0}\\{1} C:\\SegNet\\{0}annot\\{1}",
        "\ufeff{0}/{1}\t{0}annot/{1}",
        "# mine\n{0}/{1}  {0}annot/{1}\r",
    ],
)
def test_lists_as_users_have_them(camvid_root, line):
    (camvid_root / "train.txt").write_text(line.format("train", "0001TP_000000.png") + "\n", "utf-8")
    assert len(CamVidDataModule(str(camvid_root)).dataset("train")) == 1
    (camvid_root / "train.txt").write_text("train/x.png\n")
    with pytest.raises(SegmentError, match="expected 'IMAGE MASK' in each line"):
        CamVidDataModule(str(camvid_root)).samples("train")
    (camvid_root / "train.txt").write_bytes("b\u00fccher.png".encode("latin-1"))
    with pytest.raises(SegmentError, match=r"train.txt is no UTF-8 text"):
        CamVidDataModule(str(camvid_root)).samples("train")


@needs_shared
def test_real_files():
    assert len(CamVidDataModule(str(SHARED / "data" / "camvid")).dataset("train")) == 367
