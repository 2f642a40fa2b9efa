"""A user's mistake is one short message and a non-zero exit code, by the real commands."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import SMALL

QUICK = (*SMALL, "data.crop_size=[40,40]", "trainer.max_epochs=1", "trainer.enable_progress_bar=false")

CASES = {
    "unknown model": (["model=fcn9s"], "model=fcn9s: there is no such option: did you mean fcn8s?"),
    "unknown data": (["data=cocoa"], "data=cocoa: there is no such option: did you mean coco?"),
    "misspelt key": (["data.bach_size=4"], "data.bach_size= is not known: did you mean data.batch_size=?"),
    "key of an earlier version": (["data=folder", "data.mask_suffix=_m"], "did you mean data.mask_name=?"),
    "misspelt argument": (["+model.decoder.skips=[8]"], "unexpected keyword argument 'skips'"),
    "no key": (["fcn8s"], "missing EQUAL"),
    "missing root": (["data=voc", "data.root=nowhere"], "no data set at data.root=nowhere: expected VOCdevkit/VOC2012"),
    "frozen stages as text": (["model.frozen_stages=all"], "model.frozen_stages=all: expected a whole number"),
    "no validation": (["trainer.limit_val_batches=0"], "nothing would be validated"),
    "validation too late": (["trainer.val_check_interval=500"], "trainer.val_check_interval (500) must be less"),
    "impossible stride": (["model.decoder.skip_strides=[3]"], "no feature at stride 3; this encoder has 32, 16, 8"),
    "unknown network": (["model/encoder=timm", "model.encoder.name=resnett"], "timm has no network 'resnett'"),
    "no weights file": (["model/encoder=resnet18", "model.encoder.weights=none.pth"], "none.pth does not exist"),
    "class weights": (["loss.class_weights=[1,2]"], "loss.class_weights has 2 values for 6 classes"),
    "class weights below 0": (["loss.class_weights=[1,1,1,1,1,-1]"], "expected numbers from 0, not all 0"),
    "no class counts": (["loss.class_weights=[0,0,0,0,0,0]"], "expected numbers from 0, not all 0"),
    "one class weight": (["loss.class_weights=3"], "class_weights=3: expected a list (each a number) or auto or null"),
    "too much smoothing": (["loss.label_smoothing=2"], "loss.label_smoothing=2: expected a share from 0 to 1"),
    "seed as text": (["seed=abc"], "seed=abc: expected a whole number from 0"),
    "seed below 0": (["seed=-1"], "seed=-1: expected a whole number from 0"),
    "fraction of an image": (["data.batch_size=2.5"], "data.batch_size=2.5: expected a whole number"),
    "fraction of a step": (["checkpoint.every_n_steps=1.5"], "every_n_steps=1.5: expected a whole number or null"),
    "checkpoint to train": (["checkpoint=best.ckpt"], "resume=RUN continues a run"),
    "compile as text": (["compile=maybe"], "compile=maybe: expected true or false"),
    "epochs as text": (["trainer.max_epochs=many"], "trainer.max_epochs=many: expected a whole number or null"),
    "no width": (["model.encoder.width=0"], "model.encoder.width=0: expected a number from 1"),
    "no accumulation": (["trainer.accumulate_grad_batches=0"], "expected a number from 1"),
    "no training": (["trainer.max_epochs=0"], "nothing would be trained"),
    "late validation": (["trainer.check_val_every_n_epoch=5"], "nothing would be validated in 1 epochs"),
    "no best checkpoint": (["callbacks=ema"], "nothing keeps the best checkpoint"),
    "folder in a name": (["+callbacks.best.dirpath=null", "+callbacks.x={_target_:lightning.pytorch.callbacks."
                          "ModelCheckpoint,filename:a/b}"], "this run: refused, filename=a/b in callbacks is no plain"),
    "no pictures": (["callbacks.wandb.every_n_epochs=0"], "callbacks.wandb: expected every_n_epochs from 1"),
    "rising rates": (["scheduler=polynomial", "scheduler.power=-1"], "scheduler.power=-1: expected a number from 0"),
    "non-finite loss": (["optimizer=sgd", "optimizer.lr=1e30", "data.train_size=16"], "the loss is"),
    "wrong accelerator": (["trainer.accelerator=tpux"], "Trainer: "),
    "negative rate": (["optimizer.lr=-1"], "Invalid learning rate"),
    "rate as text": (["optimizer.lr=fast"], "optimizer.lr=fast: expected a number"),
    "wrong crop": (["data.crop_size=[96]"], "expected crop_size=[HEIGHT,WIDTH]"),
    "no end": (["trainer.max_epochs=-1"], "this schedule needs an end"),
    "resume": (["resume=nowhere"], "resume=nowhere: no checkpoint at nowhere"),
}  # fmt: skip

EVERYDAY = {
    "unknown model", "misspelt key", "misspelt argument", "no key", "missing root", "impossible stride",
    "class weights", "seed as text", "no training", "resume",
}  # fmt: skip
"""One case of each kind; the others are slow tests, since each starts a training."""

COMMANDS = ("train", "evaluate", "predict", "app", "export", "check", "summary", "report", "submission")
SLOW_IMPORTS = {"torch", "torchvision", "lightning", "torchmetrics", "timm", "scipy", "matplotlib", "wandb", "pydantic"}


@pytest.fixture
def fails(main, capfd):
    """Run a command that has to fail without a traceback, and return everything that it printed."""

    def start(name: str, *overrides: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(name, *overrides)
        assert end.value.code not in {0, None}
        printed = "".join(capfd.readouterr())
        assert "Traceback" not in printed
        return f"{printed}{end.value.code}"

    return start


@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_a_mistake_in_a_training(fails, name):
    overrides, message = CASES[name]
    own_encoder = any("encoder" in override for override in overrides)
    small = [one for one in QUICK if not (own_encoder and one.startswith("model.encoder.width"))]
    printed = fails("train", *small, *overrides)
    assert message in printed
    assert "images a step" not in printed or name == "non-finite loss", "the message comes before training begins"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_missing_gpu(fails, devices):
    message = fails("train", *QUICK, "trainer.accelerator=gpu", f"trainer.devices={devices}")
    assert message.startswith("error: ")
    assert "gpu" in message.lower()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_the_data_during_training_names_the_file(fails, voc_root, workers):
    path = voc_root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_00t2.png"
    Image.fromarray(np.full_like(np.array(Image.open(path)), 77)).save(path)
    data = ["data=voc", f"data.root={voc_root}", f"data.num_workers={workers}", "data.batch_size=1"]
    printed = fails("train", *QUICK, *data)
    assert "error: the masks have 1 label that this data set lacks" in printed
    assert str(path) in printed


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_a_file_that_is_no_checkpoint(fails, tmp_path, name):
    paths = [f"input={tmp_path}", "output=o"] if name == "predict" else []
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("text")
    for path, message in (
        ("gone.ckpt", "gone.ckpt does not exist"),
        ("text.ckpt", "text.ckpt is not a file of weights"),
        ("other.ckpt", "other.ckpt is not a checkpoint of segment.train"),
    ):
        assert message in fails(name, f"checkpoint={tmp_path / path}", *paths)


MISSING = """
import runpy, sys
sys.modules["torch"] = None  # importing it is an error
for name, *more in (("evaluate",), ("evaluate", "data=voc", "data.root=x"), ("predict", "input=x", "output=y"),
                    ("export", "output=x.onnx", "format=onnx"), ("export", "output=x.pt2", "format=torch_export")):
    sys.argv = [name, "checkpoint=gone.ckpt", "hydra.run.dir=run", *more]
    try:
        runpy.run_module(f"segment.{name}", run_name="__main__")
    except SystemExit as end:
        print(end.code)
"""


def test_a_missing_checkpoint_is_said_before_torch_is_imported(tmp_path):
    done = subprocess.run([sys.executable, "-c", MISSING], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["error: the file gone.ckpt does not exist"] * 5, done.stderr


def test_help_does_not_import_torch():
    """Check that no command imports at its start what takes seconds and only its work needs."""
    commands = ", ".join(f"segment.{name}" for name in COMMANDS)
    program = f"import sys, {commands}; print({SLOW_IMPORTS} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_crop_too_small_for_batch_norm(main):
    with pytest.raises(SystemExit, match=r"raise data.batch_size to 2 or more"):
        main("train", *SMALL, "data.crop_size=[16,16]", "data.batch_size=1", "trainer.fast_dev_run=true")
