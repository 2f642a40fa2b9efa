"""The loop of docs/annotate.md: annotate, train, predict, correct, train."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL
from tests.data.annotations.conftest import SIZE, save_photo, write_labelme

PAGE = Path(__file__).parents[1] / "docs" / "annotate.md"
TRAIN = (*SMALL, "trainer.max_epochs=1", "data.crop_size=[16,16]", "data.num_workers=0")


@pytest.mark.slow
def test_the_loop_of_the_page(main, tmp_path):
    write_labelme(tmp_path / "photos")
    for i in range(3):
        save_photo(tmp_path / "more" / f"new{i}.jpg")
    steps = re.findall(r"^        (python -m segment|mv )(.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(steps) == 5
    for kind, rest in steps:
        if kind == "mv ":
            corrected = json.loads((tmp_path / "predicted/labelme/new0.json").read_text())
            corrected["shapes"] = [{"label": "dog", "points": [[1, 1], [8, 1], [8, 8]], "shape_type": "polygon"}]
            (tmp_path / "predicted/labelme/new0.json").write_text(json.dumps(corrected))
            for path in (tmp_path / "predicted/labelme").glob("*"):
                path.rename(tmp_path / "photos" / path.name)
        else:
            name, *overrides = shlex.split(rest)
            if name == ".train":
                overrides = [one for one in overrides if not one.startswith("model")] + [*TRAIN]
            main(name.removeprefix("."), *overrides)
    metrics = json.loads((tmp_path / "runs/second/metrics.json").read_text())
    assert metrics["images"] >= 1
    mask = Image.open(tmp_path / "predicted" / "new1.png")
    assert mask.size == SIZE


@pytest.mark.parametrize(
    "name", [pytest.param("labelme", marks=pytest.mark.slow), pytest.param("coco", marks=pytest.mark.slow), "cvat"]
)
def test_predictions_open_in_a_tool_and_corrections_are_kept(main, checkpoint, tmp_path, name, capfd, monkeypatch):
    from segment.data.datasets.annotated import AnnotationDataModule

    if name == "coco":
        pytest.importorskip("pycocotools")
    for i in range(2):
        save_photo(tmp_path / "photos" / f"{i}.jpg")
    command = [
        f"checkpoint={checkpoint}",
        f"input={tmp_path}/photos",
        f"output={tmp_path}/out",
        f"write={name}",
        "tolerance=0",
    ]
    main("predict", *command)
    assert "2 images annotated, 0 had their annotations already" in capfd.readouterr().out
    root = tmp_path / "out" / name
    if name == "cvat":
        (root / "cvat.zip").rename(tmp_path / "photos" / "cvat.zip")
        root = tmp_path / "photos"
    masks = {path.stem: np.array(Image.open(path)) for path in (tmp_path / "out").glob("?.png")}
    data = AnnotationDataModule(str(root), val_fraction=0.5, others="void")
    for split in ("train", "val"):
        dataset = data.make_dataset(split, None)
        found = dataset.load(0)[1].numpy()
        expected = masks[dataset.id(0).rpartition("/")[2]]
        pairs = {*zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True)}
        assert len(pairs) == len(np.unique(expected))  # labels may have another order, but each has its pixels
    if name == "labelme":
        (root / "0.json").write_text("{}")
        main("predict", *command)
        assert (root / "0.json").read_text() == "{}"
        with pytest.raises(SystemExit, match="was converted with other settings"):
            main("predict", *command[:-1], "tolerance=2")
    if name == "cvat":
        monkeypatch.setattr("segment.data.annotations.conversion.convert_pictures", lambda *_: (1, 0))
        with pytest.raises(SystemExit, match="1 of 2 images could not be annotated, see the lines above"):
            main("predict", *command)
    with pytest.raises(SystemExit, match="expected write=labelme, coco or cvat"):
        main("predict", *command[:-2], "write=gif")


def test_masks_with_more_objects_than_the_format_holds_are_counted(tmp_path, capsys):
    from segment.data.classes import Classes, voc_palette
    from segment.predict import write_annotations
    from segment.prediction.output_files import OutputFiles
    from segment.prediction.work import Work

    mask = np.zeros((40, 60), np.uint8)
    mask[::2, ::2] = 1
    Image.fromarray(mask).save(tmp_path / "a.png")
    images = {save_photo(tmp_path / "a.jpg", size=(60, 40)): OutputFiles(tmp_path / "a", [], "predict")}
    classes = Classes(("background", "dog"), voc_palette(2))
    assert write_annotations(Work(images, {}), tmp_path, classes, "cvat", 0.0) == 1
    line = "a.jpg has 600 objects; a mask of objects holds 254: choose the format coco or labelme"
    assert line in capsys.readouterr().out
