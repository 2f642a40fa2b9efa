"""The command that converts annotations: formats, continuation, and mistakes."""

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHARED, needs_shared
from tests.data.annotations.conftest import write_labelme


def masks(folder):
    return {path.stem: np.array(Image.open(path)) for path in folder.glob("*.png")}


@pytest.mark.slow
def test_from_labelme_to_voc_and_back(main, tmp_path, capfd):
    root = write_labelme(tmp_path / "photos")
    main("convert", f"input={root}", f"output={tmp_path}/voc", "format=voc")
    assert "6 images converted, 0 had been converted already" in capfd.readouterr().out
    (tmp_path / "voc/SegmentationClass/03.png").unlink()
    main("convert", f"input={root}", f"output={tmp_path}/voc")
    assert "1 image converted, 5 had been converted already" in capfd.readouterr().out
    first = masks(tmp_path / "voc/SegmentationClass")
    assert {*np.unique(first["01"])} == {0, 1, 2, 255}
    main("convert", f"input={tmp_path}/voc", f"output={tmp_path}/labelme", "format=labelme")
    main("convert", f"input={tmp_path}/labelme", f"output={tmp_path}/again", "border=0")
    again = masks(tmp_path / "again/SegmentationClass")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    lists = [tmp_path / name / "ImageSets/Segmentation/val.txt" for name in ("voc", "again")]
    assert lists[0].read_text() == lists[1].read_text()


@pytest.mark.slow
def test_masks_are_a_folder_to_train_on(main, tmp_path):
    root = write_labelme(tmp_path / "photos")
    main("convert", f"input={root}", f"output={tmp_path}/out", "format=masks", "data.classes={animal:dog,void:person}")
    main("check", "data=folder", f"data.root={tmp_path}/out")
    main("convert", "data=folder", f"input={tmp_path}/out", f"output={tmp_path}/labelme", "format=labelme")
    assert '"animal"' in (tmp_path / "labelme/03.json").read_text()


def test_images_without_a_split_are_converted(main, tmp_path):
    root = write_labelme(tmp_path / "photos", 1)
    main("convert", f"input={root}", f"output={tmp_path}/one", "format=masks")
    assert [*masks(tmp_path / "one/masks")] == ["00"]
    write_labelme(root, 4)
    (root / "train.txt").write_text("01\n")
    (root / "val.txt").write_text("02\n")
    main("convert", f"input={root}", f"output={tmp_path}/out", "format=masks")
    assert (tmp_path / "out/unlisted.txt").read_text() == "00\n03\n"


@pytest.mark.slow
def test_a_list_with_a_wrong_line_is_refused(main, tmp_path):
    write_labelme(tmp_path / "photos", 4)
    main("convert", f"input={tmp_path}/photos", f"output={tmp_path}/masks", "format=masks")
    (tmp_path / "masks" / "val.txt").write_text("00\nnowhere\n")
    with pytest.raises(SystemExit, match=r"^error: .*val.txt lists 'nowhere'"):
        main("convert", "data=folder", f"input={tmp_path}/masks", f"output={tmp_path}/voc")
    assert not (tmp_path / "voc").exists()


def test_mistakes(main, tmp_path, capfd):
    root = write_labelme(tmp_path / "photos")
    (root / "00.json").write_text("{")
    with pytest.raises(SystemExit, match="error: 1 could not be converted, see the lines above"):
        main("convert", f"input={root}", f"output={tmp_path}/out", "format=coco")
    assert "skipped: cannot read" in capfd.readouterr().err
    for overrides, message in (
        (["format=gif"], "expected format=voc|masks|coco|labelme|cvat"),
        (["border=4"], "border=0 or an odd number from 3"),
        (["tolerance=-1"], "tolerance from 0"),
        (["format=voc"], "was converted with other settings"),
    ):
        with pytest.raises(SystemExit) as caught:
            main("convert", f"input={root}", f"output={tmp_path}/out", *overrides)
        assert message in str(caught.value)
    with pytest.raises(SystemExit, match="lies in input="):
        main("convert", f"input={root}", f"output={root}/out")


@needs_shared
def test_void_bands_of_real_polygons(main, tmp_path):
    """As in VOC, 4 pixels lie between straight sides, more between slanted ones, and never fewer."""
    main("convert", f"input={SHARED}/data/labelme/data_annotated", f"output={tmp_path}/out")
    widths = np.zeros(500, int)
    for mask in masks(tmp_path / "out/SegmentationClass").values():
        for lines in (mask, mask.T):
            for line in lines:
                edges = np.flatnonzero(np.diff(np.r_[False, line == 255, False]))
                for start, end in edges.reshape(-1, 2):
                    if start > 0 and end < len(line) and line[start - 1] != line[end]:
                        widths[end - start] += 1
    assert np.flatnonzero(widths)[0] == 4
