"""datumaro as a referee: it reads what we write, and we read what it writes."""

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from segment.data.datasets.annotated import AnnotationDataModule
from tests.data.annotations.test_conversion import class_maps, pictures, write

HERE = Path(__file__).parent
REFEREE = HERE.parents[2] / ".referee" / "bin" / "python"
"""Python of an environment that make referee makes: datumaro does not install beside our own versions."""
needs_referee = pytest.mark.skipif(not REFEREE.is_file(), reason="needs datumaro: make referee")


def referee(*arguments: object) -> None:
    subprocess.run([REFEREE, HERE / "referee.py", *map(str, arguments)], check=True)


def check_what_it_wrote(folder):
    expected = np.load(folder / "expected.npz")
    for name in ("coco", "cvat"):
        place = folder / {"coco": "coco_instances", "cvat": "voc_segmentation"}[name]
        data = AnnotationDataModule(str(place), name, ["cat", "dog"])
        for split, item in (("train", "item0"), ("val", "item1")):
            truth = expected[item]
            if name == "coco" and split == "train":  # it writes masks as crowds, which that file has beside polygons
                truth = np.where(truth == 2, 255, truth)
            assert np.array_equal(data.make_dataset(split, None).load(0)[1].numpy(), truth), (name, item)


def test_what_datumaro_wrote_is_read():
    pytest.importorskip("pycocotools")
    check_what_it_wrote(HERE / "datumaro")


@pytest.mark.slow
@needs_referee
def test_what_datumaro_writes_now_is_read(tmp_path):
    pytest.importorskip("pycocotools")
    referee("write", tmp_path)
    check_what_it_wrote(tmp_path)


@pytest.mark.slow
@needs_referee
@pytest.mark.parametrize(
    ("name", "format_there"), [("coco", "coco_instances"), ("cvat", "voc_segmentation"), ("voc", "voc_segmentation")]
)
def test_datumaro_reads_what_we_write(tmp_path, name, format_there):
    maps = class_maps()[:3]
    write(tmp_path / "out", pictures(tmp_path / "photos", maps), name)
    place = tmp_path / "out"
    if name == "cvat":
        place = tmp_path / "unpacked"
        with zipfile.ZipFile(tmp_path / "out" / "cvat.zip") as archive:
            archive.extractall(place)
    referee("read", format_there, place, tmp_path / "found.npz")
    found = np.load(tmp_path / "found.npz")
    for i, labels in enumerate(maps):
        assert np.array_equal(found[f"{i}"], labels)
