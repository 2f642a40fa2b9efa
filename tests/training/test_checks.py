"""A run that cannot give metrics is refused before its first step."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from segment.cli.config import load_config
from segment.errors import SegmentError
from segment.training.checks import (
    check_callbacks,
    check_compiler,
    check_first_validation,
    check_trainer,
    check_trainer_config,
)
from segment.training.trainer import good_values
from tests.training.test_trainer import build


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: expected a number from 1"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0: expected a number from 1"),
        ("~callbacks.best", "callbacks: nothing keeps the best checkpoint"),
        ("callbacks.best.filename=top", "with callbacks.best.filename=best"),
        ("callbacks.best.monitor=val/miou", "ModelCheckpoint's monitor=val/miou is not logged, expected val/mIoU"),
        ("callbacks.best.monitor=null", "callbacks.best.monitor=null: best.ckpt is the best of all validations"),
        ("callbacks.best.mode=min", "ModelCheckpoint has mode=min for val/mIoU: expected mode=max"),
        ("callbacks.best.enable_version_counter=true", "callbacks.best.enable_version_counter=true: best.ckpt is"),
        ("+callbacks.best.save_top_k=3", "callbacks.best.save_top_k=3: best.ckpt is the best of all validations"),
        ("+callbacks.best.dirpath=other", "callbacks.best.dirpath=other: best.ckpt is the best of all validations"),
        ("+callbacks.best.every_n_epochs=5", "callbacks.best.every_n_epochs=5: best.ckpt is the best of all"),
        (
            "callbacks=[default,early_stopping] callbacks.early_stopping.monitor=val/miou",
            "EarlyStopping's monitor=val/miou",
        ),
        ("+trainer.min_epochs=5 trainer.max_epochs=2", "trainer.min_epochs=5 is above trainer.max_epochs=2"),
        ("+trainer.min_steps=5 trainer.max_steps=2", "trainer.min_steps=5 is above trainer.max_steps=2"),
        ("trainer.max_epochs=null", "trainer.max_epochs=null: expected trainer.max_steps or trainer.max_time"),
        ("trainer.devices=100000", "trainer.devices=100000: expected at most [0-9]+ processes on this CPU"),
        ("trainer.gradient_clip_val=nan", "trainer.gradient_clip_val=nan: expected a finite number"),
        ("callbacks=[default,ema] callbacks.ema.decay=nan", "callbacks.ema.decay=nan: expected a finite number"),
        ("callbacks=[default,ema] callbacks.ema.decay=x", "callbacks.ema.decay=x: expected a number"),
        (
            "callbacks=[default,ema] +callbacks.ema.update_every_n_steps=0",
            "callbacks: EMAWeightAveraging has update_every_n_steps below 1",
        ),
        ("callbacks=[default,ema] +callbacks.ema.dekay=0.9", "callbacks: EMAWeightAveraging takes no dekay"),
        (
            "callbacks=[default,early_stopping] +callbacks.early_stopping.min_delta=-1",
            "callbacks: EarlyStopping has a min_delta below 0",
        ),
        (
            "+callbacks.x._target_=lightning.pytorch.callbacks.LearningRateFinder",
            "Finder is not supported: use tune.lr",
        ),
        (
            "callbacks=[default,stop_hopeless] callbacks.stop_hopeless.min_jobs=0",
            "callbacks.stop_hopeless: expected min_jobs and min_epochs from 1, got 0 and 1",
        ),
        ("callbacks.wandb.count=-1", "callbacks.wandb: expected every_n_epochs from 1 and count from 0, got 1 and -1"),
        (
            "callbacks=[default,early_stopping] callbacks.early_stopping.patience=0",
            "callbacks: EarlyStopping has patience=0: expected 1 or more validations",
        ),
        (
            "+callbacks.b={_target_:lightning.pytorch.callbacks.ModelCheckpoint,monitor:val/mIoU,mode:max}",
            "callbacks: two ModelCheckpoints are alike",
        ),
        ("trainer.accumulate_grad_batches=two", "trainer.accumulate_grad_batches=two: expected a whole number"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval=0: expected a share of an epoch above 0"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: expected a number from 0"),
        ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps=-1: expected a number from 0"),
        ("trainer.num_sanity_val_steps=-2", "trainer.num_sanity_val_steps=-2: expected a number from -1"),
        ("+trainer.logger=false", "trainer.logger has no effect, since segment.train sets it: leave it out"),
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn: expected a strategy whose processes begin anew"),
        ("trainer.strategy=ddp_fork", "trainer.strategy=ddp_fork: expected a strategy whose processes begin anew"),
        ("trainer.limit_train_batches=0", "nothing would be trained"),
        ("trainer.max_steps=0", "nothing would be trained"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0: nothing would be validated"),
    ],
)
def test_a_run_that_cannot_give_metrics_is_refused(tmp_path, override, message):
    with pytest.raises(SegmentError, match=message):
        build(tmp_path, *override.split())


def test_a_callback_of_the_user_s_may_log_what_is_monitored(tmp_path):
    own = "+callbacks.own._target_=tests.training.test_lightning_internals.Observer"
    build(tmp_path, own, "callbacks.best.monitor=val/own", "callbacks.best.mode=min")


def test_null_leaves_a_callback_out(tmp_path):
    assert "Throughput" not in {type(one).__name__ for one in build(tmp_path, "callbacks.throughput=null").callbacks}


@pytest.mark.parametrize(
    ("every", "at", "epochs", "steps"), [(1, 6, 1, 6), (4, 6, 1, 2), (4, 3, 1, 0), (4, 5, 2, 3), (1, 6, None, 0)]
)
def test_a_run_that_ends_before_its_first_validation_is_refused(every, at, epochs, steps):
    trainer = SimpleNamespace(
        check_val_every_n_epoch=epochs,
        num_training_batches=6,
        accumulate_grad_batches=every,
        val_check_batch=at,
        fast_dev_run=False,
        max_steps=max(steps, 1),
    )
    check_first_validation(trainer)
    trainer.max_steps = -1
    check_first_validation(trainer)
    trainer.max_steps, trainer.val_check_batch = 1, None  # val_check_interval is a time
    check_first_validation(trainer)
    trainer.val_check_batch = at
    if steps > 1:
        trainer.max_steps = steps - 1
        with pytest.raises(
            SegmentError, match=rf"nothing would be validated, the first validation comes after {steps}"
        ):
            check_first_validation(trainer)


def test_a_trial_of_one_batch_needs_no_best_checkpoint(tmp_path):
    build(tmp_path, "~callbacks.best", "trainer.fast_dev_run=true")


def test_synchronised_batch_norm_needs_gpus():
    trainer = SimpleNamespace(
        max_epochs=1,
        max_steps=-1,
        limit_train_batches=1.0,
        limit_val_batches=1.0,
        check_val_every_n_epoch=1,
        world_size=2,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    with pytest.raises(SegmentError, match=r"^trainer.sync_batchnorm=true: torch supports this on GPUs only"):
        check_trainer(trainer, load_config(["trainer.sync_batchnorm=true"]))
    check_trainer(trainer, load_config([]))


def test_a_time_between_validations_and_a_callback_without_a_mode_pass():
    check_trainer_config({"val_check_interval": "00:00:10:00", "max_time": "01:00:00:00"})
    check_callbacks([SimpleNamespace(monitor="val/mIoU")])
    check_callbacks([SimpleNamespace(update_every_n_steps=0, _kwargs=["the user's own"])])


def test_a_further_metric_may_be_monitored():
    stopper = EarlyStopping("val/f1", mode="max")
    check_callbacks([stopper], {"f1": "max"})
    check_callbacks([EarlyStopping("val/all/f1", mode="max")], {"all": None})
    with pytest.raises(SegmentError, match=r"^callbacks: EarlyStopping has mode=max for val/f1: expected mode=min$"):
        check_callbacks([stopper], {"f1": "min"})
    with pytest.raises(SegmentError, match=r"monitor=val/f1 is not logged, expected val/mIoU.*, val/kappa$"):
        check_callbacks([stopper], {"kappa": None})
    f1 = {"_target_": "torchmetrics.classification.MulticlassF1Score"}
    loss = {"_target_": "torchmetrics.classification.MulticlassHingeLoss"}
    own = {"_target_": "torch.nn.Identity"}
    assert good_values({"a": f1, "b": loss, "c": own, "d": None}) == {"a": "max", "b": "min", "c": None}


@pytest.mark.parametrize(("compiler", "name"), [(None, r"(clan)?g\+\+"), ("nosuch++ -O2", r"nosuch\+\+ -O2")])
def test_compilation_on_a_cpu_needs_a_compiler(compiler, name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    with pytest.raises(SegmentError, match=f"^compile=true needs a C.. compiler on a CPU, and there is no {name}:"):
        check_compiler("cpu")
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    (tmp_path / "c++").touch(mode=0o755)
    check_compiler("cpu")
    assert capsys.readouterr().out.startswith("note: compile=true: on a CPU, compiling takes up to a minute, and steps")
