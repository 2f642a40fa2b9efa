"""Untrusted files build public classes only, and their overrides run nothing."""

import pytest

from segment.errors import SegmentError
from segment.records.trust import check_file_names, check_recorded_overrides, check_stranger_config

NET = {"_target_": "segment.models.SegmentationNet", "encoder": {"_target_": "segment.models.UNetEncoder", "width": 8}}


def refusal(config, **options):
    with pytest.raises(SegmentError) as error:
        check_stranger_config(config, "a.ckpt", **options)
    assert len(str(error.value)) <= 300
    return str(error.value)


@pytest.mark.parametrize(
    "part",
    [
        NET,
        {"_target_": "segment.training.one_cycle", "_partial_": True, "momentum": [0.85, 0.95]},
        {"_target_": "torch.optim.AdamW", "lr": 1e-3},
        {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 3},
        {"_target_": "torch.nn.CrossEntropyLoss", "ignore_index": 255},
        {"_target_": "lightning.Trainer", "max_epochs": 3, "strategy": "ddp"},
        {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/mIoU"},
        {"_target_": "lightning.pytorch.loggers.WandbLogger", "project": "segment", "tags": []},
        {"_target_": "segment.data.VOCDataModule", "root": "data/voc", "download": False, "url": None},
    ],
)
def test_usual_parts_pass(part):
    check_stranger_config({"part": part}, "a.ckpt")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "segment.sweeps.process.run_command",
        "segment.models.net.SegmentationNet",  # not the public name
        "segment.models.weights",
        "segment.data.read_image",  # a function
        "segment.data.datasets.voc.SBDataset",
        "torch.utils.collect_env.run",
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "torch.distributed.launcher.api.elastic_launch",
        "lightning.pytorch.cli.LightningCLI",
        "lightning.app.LightningApp",
        "torch.nn.modules.module.importlib.import_module",
        "",
        None,
        ["os.system"],
        {"a": 1},
    ],
)
def test_other_targets_are_refused(target):
    assert "refused" in refusal({"part": {"_target_": target}})


def test_only_the_folders_that_are_asked_for():
    check_stranger_config(NET, "a.ckpt", folders=("segment.models",))
    refusal({"_target_": "torch.optim.AdamW"}, folders=("segment.models",))
    refusal({"_target_": "segment.data.VOCDataModule"}, folders=("segment.models",))


def test_trust_means_a_package_and_no_prefix():
    for target in ("mylab.Net", "mylab.nets.Net", "mylab"):
        check_stranger_config({"_target_": target}, "a.ckpt", trust=["mylab"])
    for target in ("mylabel.Net", "mylab_evil.Net", "my.lab"):
        refusal({"_target_": target}, trust=["mylab"])
    assert "add trust=[mylab]" in refusal({"_target_": "mylab.Net"})


@pytest.mark.parametrize(
    "extra",
    [
        {"_args_": ["http://127.0.0.1/x"]},
        {"_args_": {"a": 1}},
        {"sub": {"_args_": []}},
        {"sub": {"url": "http://127.0.0.1/x"}},
        {"sub": {"download": True}},
        {"sub": [{"checksum": "md5:0"}]},
        {"root": "${oc.env:HOME}"},
        {"root": b"bytes"},
        {"dirpath": "/tmp"},
        {"sub": {"save_dir": "/tmp"}},
    ],
)
def test_what_would_run_download_or_write_is_refused(extra):
    refusal({"data": {"_target_": "segment.data.VOCDataModule", **extra}})


@pytest.mark.parametrize("value", ["../x", "a/b", "/tmp/x", ["a", ".."], ["/../x/"], {"/../x": 1}])
@pytest.mark.parametrize("key", ["filename", "name", "version", "sub_dir"])
def test_a_name_is_no_path(key, value):
    for group in ("callbacks", "logger"):
        check_file_names({group: {"x": {key: "epoch={epoch}"}, "y": None}, "data": {key: value}}, "runs/a")
        check_file_names({group: {"x": {"_target_": "lightning.pytorch.loggers.WandbLogger", "name": "a/b"}}}, "runs/a")
        with pytest.raises(SegmentError, match="is no plain file name"):
            check_file_names({group: {"x": {key: value}}}, "runs/a")


def test_the_value_of_a_metric_with_a_slash_may_stand_in_a_file_name():
    plain = {"filename": "{epoch}-{val/mIoU:.3f}", "auto_insert_metric_name": False}
    check_file_names({"callbacks": {"x": plain}}, "runs/a")
    for changed in ({"auto_insert_metric_name": True}, {"filename": "{epoch:/>9}"}, {"filename": "{epoch}/{step}"}):
        with pytest.raises(SegmentError, match="is no plain file name"):
            check_file_names({"callbacks": {"x": {**plain, **changed}}}, "runs/a")


def test_downloads_are_told_apart_by_their_level():
    check_stranger_config({"_target_": "segment.data.VOCDataModule", "root": "x", "url": None}, "a.ckpt")
    for config in (None, [], "text", 3):
        refusal(config)


@pytest.mark.parametrize(
    "override",
    [
        "hydra.run.dir=/tmp/x",
        "+hydra.callbacks.evil._target_=os.system",
        "hydra/launcher=slurm",
        "~hydra.job",
        "++hydra/job_logging@x=y",
        "--config-dir=/tmp",
        "-m",
        "trust=[os]",
        "+trust=[os]",
        "data.root=${oc.env:SECRET}",
        "data.download=true",
        "data.url=http://127.0.0.1",
        "+data.checksum=md5:0",
        "callbacks.best.dirpath=/tmp",
        "logger.wandb.save_dir=/tmp",
        "+trainer.default_root_dir=/tmp",
        3,
        None,
    ],
)
def test_recorded_overrides_that_are_refused(override):
    with pytest.raises(SegmentError, match="refused"):
        check_recorded_overrides(["model=fcn8s", override], "runs/a")


def test_recorded_overrides_that_are_used():
    check_recorded_overrides(
        ["model=fcn8s", "sweep=skip_strides", "data.root=data/my voc", "+trainer.limit_val_batches=2", "~loss.x"], "a"
    )
