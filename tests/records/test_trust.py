"""Untrusted files build public classes only, and their overrides run nothing."""

import sys

import pytest

from segment.errors import SegmentError
from segment.records.trust import (
    check_file_names,
    check_recorded_overrides,
    check_stranger_config,
    needed_trust,
    read_trust,
)

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
        {"_target_": "segment.data.VOCDataModule", "augment": [{"_target_": "torchvision.transforms.v2.JPEG"}]},
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
        "segment.sweeps.process.run_job",
        "segment.models.net.SegmentationNet",  # not the public name
        "segment.models.weights",
        "segment.data.read_image",  # a function
        "segment.data.datasets.voc.SBDataset",
        "torch.utils.collect_env.run",
        "torch.load",
        "torchvision.transforms.v2.Lambda",
        "torchvision.transforms.v2.functional.to_image",
        "torchvision.transforms.Lambda",
        "torchvision.datasets.utils.download_url",
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


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    """A package with a class, a sub-package that is imported from there, and a module that imports ``os``."""
    files = {
        "mylab/__init__.py": "from mylab.nets import Net",
        "mylab/nets.py": "import os\nimport lightning\nclass Net: pass\nclass Lit(lightning.LightningModule): pass",
        "mylab/losses.py": "from mylab.nets import Net\nclass Loss: pass",
        "mylab/broken.py": "raise ValueError('no licence')",
        "mylab_evil.py": "class Net: pass",
        "mylabx.py": "class Net: pass",
    }
    (tmp_path / "mylab").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    for name in [name for name in sys.modules if name.startswith("mylab")]:  # another test's package of that name
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    yield "mylab"
    for name in [name for name in sys.modules if name.startswith("mylab")]:
        del sys.modules[name]


def test_trust_means_a_package_and_no_prefix(mylab):
    for target in ("mylab.Net", "mylab.nets.Net", "mylab.losses.Loss"):
        check_stranger_config({"_target_": target}, "a.ckpt", trust=["mylab"])
    check_stranger_config({"_target_": "mylab.nets.Net"}, "a.ckpt", trust=["mylab.nets"])
    for target in ("mylabx.Net", "mylab_evil.Net", "my.lab", "mylab..Net", ".mylab"):
        assert "refused, it names" in refusal({"_target_": target}, trust=["mylab"])
    for target in ("mylab.losses.Loss", "mylab.Net"):
        assert 'add trust=[mylab] (in Python: trust=["mylab"])' in refusal({"_target_": target}, trust=["mylab.nets"])


def test_the_advice_keeps_the_packages_that_are_trusted_already(mylab):
    advice = 'add trust=[other,mylab] (in Python: trust=["other", "mylab"])'
    assert advice in refusal({"_target_": "mylab.Net"}, trust=["other", "mylab.losses"])


@pytest.mark.parametrize(
    "target",
    [
        "mylab.nets.os.system",
        "mylab.nets.Lit.load_from_checkpoint",
        "mylab.Net.__class__",
        "mylab.Net.__subclasses__",
        "mylab.nets",
    ],
)
def test_a_name_in_a_trusted_package_that_is_not_its_own_is_refused(mylab, target):
    assert f"refused, {target} is" in refusal({"_target_": target}, trust=["mylab"])
    if target == "mylab.nets":
        return
    refusal({"_target_": "mylab.losses.Net"}, trust=["mylab.losses"])


def test_a_trusted_name_that_cannot_be_imported_is_one_line(mylab):
    assert "no licence" in refusal({"_target_": "mylab.broken.Net"}, trust=["mylab"])
    assert "cannot import mylab.Nothing" in refusal({"_target_": "mylab.Nothing"}, trust=["mylab"])
    assert "in the folder that holds that package" in refusal({"_target_": "nolab.Net"}, trust=["nolab"])


@pytest.mark.parametrize(
    "target", [None, "os.system", "torch.hub.load", "builtins.eval", "x];curl evil|sh;.Net", "mylab\n.Net", "a b.c"]
)
def test_no_advice_to_trust_what_is_no_package_of_a_users(target):
    assert "trust" not in refusal({"_target_": target}).partition("expected")[2]


def test_metrics_of_torchmetrics_pass_without_trust():
    for target in ("torchmetrics.classification.MulticlassF1Score", "torchmetrics.JaccardIndex"):
        check_stranger_config({"_target_": target}, "runs/a")
    for target in ("torchmetrics.image.FrechetInceptionDistance", "torchmetrics.utilities.data.dim_zero_cat"):
        refusal({"_target_": target})


@pytest.mark.parametrize("given", [["my-lab"], "my lab", [1], [""], ["mylab."], ["*"], [None]])
def test_trust_names_packages(given):
    with pytest.raises(SegmentError, match=r"^trust=.*expected names of packages"):
        read_trust(given)


def test_the_trust_that_a_configuration_needs():
    config = {"net": NET, "loss": {"_target_": "mylab.Loss"}, "x": [{"_target_": "other.sub.A"}]}
    assert needed_trust(config) == ["mylab", "other"]
    assert needed_trust(NET) == []
    assert (read_trust("mylab"), read_trust(["a", "b.c"]), read_trust(None)) == (["mylab"], ["a", "b.c"], [])


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
