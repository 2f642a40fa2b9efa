"""Evaluating and predicting with checkpoints, whatever the files are called."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image

from segment.checkpoint import check_targets, load_checkpoint, load_net
from segment.data.shapes import SHAPES, draw
from segment.errors import SegmentError

TINY = (*SMALL, "data.train_size=4", "data.val_size=2", "data.test_size=3", "trainer.enable_progress_bar=false")


@pytest.fixture
def checkpoint(main):
    return main("train", *TINY, "data.crop_size=[64,64]", "trainer.max_epochs=1") / "checkpoints" / "best.ckpt"


def test_another_split_and_other_data_settings(main, checkpoint, capfd):
    folder = main("evaluate", f"checkpoint={checkpoint}", "split=test", "data.test_size=2")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert len(list((folder / "predictions").glob("*.png"))) == 2
    assert "IoU on the test split" in capfd.readouterr().out


def test_another_data_set_must_have_the_same_classes(run, checkpoint, voc_root):
    done = run("evaluate", f"checkpoint={checkpoint}", "data=voc", f"data.root={voc_root}", check=False)
    assert done.returncode == 1
    assert "the checkpoint knows 6 classes (background, disc, square, ...), the data has 21" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_a_folder(main, checkpoint, tmp_path):
    photos, names = tmp_path / "my photos", ["a (1).jpg", "b,c.png", "IMG_[1]=x.jpg", "ä.webp", "same.jpg", "same.png"]
    photos.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(draw(np.random.default_rng(i))[0]).save(photos / name)
    (photos / "notes.txt").write_text("no image")
    odd = tmp_path / "epoch=1, best.ckpt"
    shutil.copy(checkpoint, odd)
    out = tmp_path / "out (1)"
    main("predict", f"checkpoint={odd}", f"input={photos}", f"output={out}")
    stems = {"a (1)", "b,c", "IMG_[1]=x", "ä", "same.jpg", "same.png"}
    assert {path.name for path in out.iterdir()} == {f"{s}.png" for s in stems} | {f"{s}_overlay.jpg" for s in stems}
    net = load_net(load_checkpoint(checkpoint), "best")
    for name, stem in (("a (1).jpg", "a (1)"), ("same.png", "same.png")):
        mask, image = Image.open(out / f"{stem}.png"), Image.open(photos / name)
        assert mask.mode == "P"
        assert mask.size == image.size == Image.open(out / f"{stem}_overlay.jpg").size
        assert mask.getpalette()[: 3 * len(SHAPES)] == [v for colour in SHAPES.palette for v in colour]
        expected = net.predict(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None])[0]
        if name.endswith(".png"):
            assert np.array_equal(np.array(mask), expected.numpy())


def test_predict_never_overwrites_an_input(run, checkpoint, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    done = run("predict", f"checkpoint={checkpoint}", f"input={tmp_path}", f"output={tmp_path}", check=False)
    assert done.returncode == 1
    assert "a.png would overwrite an input" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_checkpoint_may_build_nets_and_nothing_else(run, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["segment"]["model"]["encoder"] = {"_target_": "os.system", "command": "touch done"}
    torch.save(content, tmp_path / "evil.ckpt")
    done = run("predict", "checkpoint=evil.ckpt", f"input={checkpoint}", "output=o", check=False)
    assert done.returncode == 1
    assert "refused: the checkpoint wants to build os.system" in done.stderr
    assert not (tmp_path / "done").exists()
    for target in ("segment.models.weights.Path", "segment.models.weights.load_file", "segment.models", "x", ""):
        with pytest.raises(SegmentError, match="refused"):
            check_targets({"parts": [{"_target_": target}]}, "segment.models")
