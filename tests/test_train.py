"""segment.train by the real command: its files, how it resumes, and its metrics."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from segment.cli.config import CONF_DIR
from segment.data.datasets.shapes import SHAPES, ShapesDataModule
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import load_checkpoint, load_net, read_classes
from tests.conftest import SHARED, SMALL, needs_shared

MODELS = sorted(path.stem for path in Path(CONF_DIR, "model").glob("*.yaml"))
TINY = (*SMALL, "data.train_size=8", "data.val_size=3", "data.crop_size=[64,64]", "trainer.enable_progress_bar=false")


@pytest.fixture
def trained(main):
    return main("train", *TINY, "trainer.max_epochs=2")


UNTRAINED = {
    "smp": "model.encoder_weights=null",
    "transformers": "model.config={model_type: segformer, depths: [1,1,1,1], hidden_sizes: [8,16,32,64]}",
}
FROZEN = {"fcn16s", "fcn16s_paper", "fcn32s", "fcn32s_paper", "fcn8s_atonce_paper"}
"""Nets whose VGG16 is not trained: the gradient of fc6 takes 15 s, and those of two other nets suffice."""


@pytest.mark.parametrize("model", [pytest.param(m, marks=() if m == "fcn_small" else pytest.mark.slow) for m in MODELS])
def test_every_model_on_shapes(main, model, capfd):
    short = ["trainer.fast_dev_run=true", "data.batch_size=2", "data.crop_size=[64,64]", "data.num_workers=0"]
    short += ["model.frozen_stages=5"] if model in FROZEN else []
    main("train", f"model={model}", *short, UNTRAINED.get(model, "model.encoder.weights=null"), "optimizer=sgd")
    assert "fast_dev_run is complete" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("data", ["voc", "ade20k", "camvid"])
def test_every_data_set_with_a_small_net(main, request, data):
    root = request.getfixturevalue(f"{data}_root")
    folder = main(
        "train", f"data={data}", f"data.root={root}", *SMALL, "data.crop_size=[40,40]", "trainer.max_epochs=1"
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["split"] == "val"
    assert 0 <= metrics["mIoU"] <= 1
    again = main("evaluate", f"checkpoint={folder}/checkpoints/best.ckpt", "data.num_workers=0")
    assert json.loads((again / "metrics.json").read_text()) == metrics


def test_a_run_writes_its_files(capfd, trained):
    out = capfd.readouterr().out
    assert "epoch 2/2" in out
    assert "mean IoU" in out
    assert "next           python -m segment.predict" in out
    metrics = json.loads((trained / "metrics.json").read_text())
    assert set(metrics) >= {
        "mIoU",
        "pixel_accuracy",
        "mean_accuracy",
        "frequency_weighted_IoU",
        "checkpoint",
        "protocol",
    }
    assert list(metrics["per_class_IoU"]) == list(SHAPES.names)
    assert metrics["images"] == 3
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {path.name for path in (trained / "predictions").iterdir()} == {"00000.png", "00001.png", "00002.png"}
    assert Image.open(trained / "curves.png").size[0] > 100
    with (trained / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/mIoU"]]
    assert len(rows) == 2  # one row for each epoch; the evaluation of best.ckpt at the end adds none
    assert metrics["mIoU"] == pytest.approx(max(float(row["val/mIoU"]) for row in rows))


@pytest.mark.slow
def test_the_net_of_the_best_checkpoint_gives_the_metrics(trained):
    checkpoint = load_checkpoint(trained / "checkpoints" / "best.ckpt")
    assert read_classes(checkpoint) == SHAPES
    net, counts = load_net(checkpoint, "best.ckpt"), np.zeros((6, 6))
    data = ShapesDataModule(8, 3).dataset("val")
    for i in range(3):
        item = data[i]
        prediction, truth = net.predict(item["image"][None])[0].numpy(), item["mask"].numpy()
        np.add.at(counts, (truth[truth != 255], prediction[truth != 255]), 1)
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    expected = np.mean(counts.diagonal()[union > 0] / union[union > 0])
    assert json.loads((trained / "metrics.json").read_text())["mIoU"] == pytest.approx(expected)


@pytest.mark.slow
def test_checkpoints_are_plain_data(trained):
    """torch reads them without running code. best.ckpt holds the net alone, last.ckpt everything to resume from."""
    best = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert "optimizer_states" not in best
    assert "optimizer_states" in torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert best[METADATA]["model"]["normalization"]["mean"] == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_a_longer_one_continues(main, capfd):
    options = [*TINY, "scheduler=constant"]
    trained = main("train", *options, "trainer.max_epochs=2")
    capfd.readouterr()
    place = f"hydra.run.dir={trained}"
    main("train", *options, "trainer.max_epochs=2", place, "resume=auto")
    assert "finished" in capfd.readouterr().out
    main("train", *options, "trainer.max_epochs=3", place, "resume=auto")
    assert next(line for line in capfd.readouterr().out.splitlines() if line.startswith("epoch")).startswith(
        "epoch 3/3"
    )
    with (trained / "metrics.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["val/mIoU"]]) == 3


@pytest.mark.slow
def test_resume_auto_starts_a_new_run_in_an_empty_folder(main, tmp_path):
    folder = main("train", *TINY, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'new'}", "resume=auto")
    assert (folder / "metrics.json").is_file()


class Quit(Callback):
    """A user's callback that ends the process."""

    def on_train_batch_start(self, *_) -> None:
        sys.exit(0)


def test_a_run_that_a_callback_ends_is_no_success(main):
    with pytest.raises(SystemExit, match=r"with sys\.exit before it was complete"):
        main("train", *TINY, "+callbacks.quit._target_=tests.test_train.Quit")


@pytest.mark.slow
def test_resume_by_path_applies_the_run_s_own_overrides(main, run, trained):
    done = run("train", f"resume={trained}", "trainer.max_epochs=3", check=False)
    assert done.returncode == 1
    assert "planned for 8 steps, this run has 12" in done.stderr
    assert "Traceback" not in done.stderr
    folder = main("train", *TINY, "scheduler=constant", "trainer.max_epochs=2")
    done = run("train", f"resume={folder}/checkpoints/last.ckpt", "trainer.max_epochs=3")
    assert "epoch 3/3" in done.stdout
    assert load_checkpoint(folder / "checkpoints" / "last.ckpt")["epoch"] == 2


@pytest.mark.slow
def test_the_summed_loss_and_the_papers_optimiser_train(main):
    paper = ["loss.reduction=sum", "optimizer=sgd", "optimizer.lr=1e-6", "optimizer.bias_factor=2"]
    paper += ["optimizer.bias_decay=false", "scheduler=polynomial", "scheduler.warmup_steps=2"]
    trainer = ["trainer.max_epochs=1", "trainer.gradient_clip_val=1.0", "trainer.precision=bf16-mixed"]
    folder = main("train", *TINY, *paper, "loss.label_smoothing=0.1", *trainer)
    assert (folder / "metrics.json").is_file()


SUMMED = [
    *TINY, "data.train_size=4", "trainer.max_epochs=1", "trainer.accelerator=cpu", "optimizer=sgd",
    "loss.reduction=sum", "optimizer.lr=1e-4", "scheduler=constant", "model.frozen_batch_norm=true",
]  # fmt: skip


@pytest.mark.slow
def test_batches_that_are_accumulated_are_one_step(main):
    together = main("train", *SUMMED, "data.batch_size=4")
    parts = main("train", *SUMMED, "trainer.accumulate_grad_batches=2")
    expected, found = (load_checkpoint(one / "checkpoints" / "last.ckpt")["state_dict"] for one in (together, parts))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_two_processes_take_the_step_and_have_the_metrics_of_one(main, run, tmp_path):
    """The metrics are equal to the last digit, although two processes do not divide the three validation images."""
    together, two = main("train", *SUMMED, "data.batch_size=4"), tmp_path / "two"
    done = run("train", *SUMMED, "trainer=ddp_cpu", f"hydra.run.dir={two}")
    assert done.stdout.count("IoU on the val split") == 1
    expected, found = (load_checkpoint(one / "checkpoints" / "last.ckpt")["state_dict"] for one in (together, two))
    torch.testing.assert_close(found, expected)
    one = main("evaluate", f"checkpoint={two}/checkpoints/best.ckpt", "trainer.accelerator=cpu")
    assert json.loads((one / "metrics.json").read_text()) == json.loads((two / "metrics.json").read_text())


@pytest.mark.slow
def test_precisions_that_change_torch_s_default_type(main):
    """During a step Lightning makes the precision torch's default type."""
    for precision in ("bf16-true", "64-true"):
        weights = "loss.class_weights=[1,2,2,2,2,2]"
        folder = main("train", *TINY, "trainer.max_epochs=1", f"trainer.precision={precision}", weights)
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["precision"] == precision
        assert metrics["mIoU"] > 0


@pytest.mark.slow
def test_a_checkpoint_of_compiled_training_loads_without_compilation(main):
    smallest = ("model.encoder.width=4", "model.encoder.depth=1", "model.decoder.skip_strides=[]")  # less to compile
    folder = main("train", *TINY, *smallest, "trainer.max_epochs=1", "compile=true")
    load_net(load_checkpoint(folder / "checkpoints" / "best.ckpt"), "best.ckpt")


@pytest.mark.slow
def test_tensorboard(main):
    folder = main("train", *TINY, "trainer.max_epochs=1", "logger=tensorboard")
    assert list(folder.glob("**/events.out.tfevents.*"))


@pytest.mark.slow
@needs_shared
def test_real_voc_trains_evaluates_and_predicts(main, tmp_path):
    root = SHARED / "data" / "voc"
    data = [f"data.root={root}", "data=voc", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2"]
    folder = main("train", *data, *SMALL, "data.crop_size=[128,128]", "trainer.max_epochs=1")
    photo = root / "VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg"
    main("predict", f"checkpoint={folder}/checkpoints/best.ckpt", f"input={photo}", f"output={tmp_path / 'out'}")
    mask = Image.open(tmp_path / "out" / "2007_000033.png")
    assert mask.mode == "P"
    assert mask.size == Image.open(photo).size
    assert mask.getpalette()[3:6] == [128, 0, 0]


@pytest.mark.slow
def test_the_wheel_works_elsewhere(tmp_path):
    root = Path(__file__).parents[1]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, root], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    own = tmp_path / "own" / "data"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("defaults: [shapes]\ntrain_size: 4\n")

    def start(*overrides: str) -> str:
        command = [sys.executable, "-m", "segment.train", *overrides]
        environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    program = "import segment.cli.config; print(segment.cli.config.CONF_DIR)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(site)}, capture_output=True, text=True
    )
    assert found.stdout.strip() == str(site / "segment" / "conf")
    assert "fast_dev_run is complete" in start("trainer.fast_dev_run=true", "data.num_workers=0")
    assert "model/encoder " in start("--help")
    assert "train_size: 4" in start("--config-dir", str(own.parent), "data=mine", "--cfg", "job")
