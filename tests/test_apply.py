"""The command ``segment.apply``: pictures, tables, continuing, and mistakes."""

import csv

import numpy as np
import pytest
from PIL import Image

import segment
from segment.effects import cutout, measure


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b (1)"):
        Image.fromarray(random.integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def test_pictures_and_what_was_done_before(main, capsys, tmp_path, checkpoint, images):
    arguments = [
        "effect=cutout",
        "effect.feather=2",
        f"checkpoint={checkpoint}",
        f"input={images}",
        f"output={tmp_path / 'o'}",
    ]
    main("apply", *arguments)
    found = segment.load(checkpoint).predict(images / "b (1).png", probabilities=True)
    chosen = range(1, len(found.classes))
    expected = cutout(found.image, found.mask, chosen, feather=2, probabilities=found.probabilities)
    assert (np.asarray(Image.open(tmp_path / "o" / "b (1).png")) == expected).all()
    (tmp_path / "o" / "a.png").unlink()
    capsys.readouterr()
    main("apply", *arguments)
    assert "1 image written, 1 existed already" in capsys.readouterr().out


def test_a_table(main, tmp_path, checkpoint, images):
    (images / "c.png").write_text("no image")
    arguments = [
        "effect=measure",
        "effect.scale=0.5",
        f"checkpoint={checkpoint}",
        f"input={images}",
        f"output={tmp_path / 'o'}",
    ]
    with pytest.raises(SystemExit, match="1 of 3 images could not be processed"):
        main("apply", *arguments)
    (images / "c.png").unlink()
    kept = tmp_path / "o" / ".segment_apply_measure.jsonl"
    kept.write_text(kept.read_text()[:-9])  # as a killed process leaves it
    main("apply", *arguments)
    with (tmp_path / "o" / "measure.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = segment.load(checkpoint).predict(images / "a.png")
    expected = measure(found.image, found.mask, range(1, len(found.classes)), scale=0.5)
    ours = [row for row in rows if row["image"].endswith("a.png")]
    assert ours
    assert [(row["class"], float(row["area"])) for row in ours] == [
        (found.classes.names[region.label], region.area) for region in expected
    ]
    assert {row["image"] for row in rows} == {str(path) for path in images.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "effect is missing: give effect=NAME, one of alert, blur"),
        (["effect=recolor"], "did you mean recolour?"),
        (["effect=recolour"], "effect.colour is missing: give effect.colour=VALUE"),
        (["effect=recolour", "effect.colour=redd"], "colour=redd: expected a name"),
        (["effect=[blur,measure]"], "effect=measure: measure() got an unexpected keyword argument"),
        (["effect=blur", "effect.radius=0"], "radius=0"),
        (["effect=alert", "effect.polygon=[[0,1],[1]]"], "polygon=[[0, 1], [1]]: expected three or more points"),
        (["effect=blur", "smooth=1"], "smooth=1.0: expected a share of the frames before"),
        (["effect=blur", "classes=[dsic]"], "the net has no class dsic: did you mean disc?"),
        (["effect=blur", "classes=[]"], "expected the names of one class or more"),
        (["effect=retexture", "effect.texture=wood (1).jpg"], "the file wood (1).jpg does not exist"),
        (["effect=cutout", "effect.background=no,one.jpg"], "the file no,one.jpg does not exist"),
    ],
)
def test_mistakes(main, capfd, tmp_path, checkpoint, images, overrides, message):
    with pytest.raises(SystemExit) as end:
        main("apply", *overrides, f"checkpoint={checkpoint}", f"input={images}", f"output={tmp_path / 'o'}")
    printed = f"{capfd.readouterr().err}{end.value.code}"
    assert message in printed
    assert "Traceback" not in printed
    assert not list((tmp_path / "o").glob("*"))


def test_masks_of_segment_predict_stay(main, tmp_path, checkpoint, images):
    arguments = [f"checkpoint={checkpoint}", f"input={images}", f"output={tmp_path / 'o'}"]
    main("predict", *arguments)
    with pytest.raises(SystemExit, match=r"exists, and segment\.apply did not write it"):
        main("apply", "effect=cutout", *arguments)
