"""Evaluating and predicting with checkpoints, whatever the files are called."""

import json

import pytest
from conftest import SMALL

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
