"""A misspelt key or option gets a suggestion, and is never ignored."""

import pytest

from segment.cli.build import instantiate
from segment.cli.config import CONF_DIR, load_config
from segment.cli.suggestions import check_flags, check_overrides, explain_hydra_error
from segment.errors import SegmentError


def explanation(overrides: list[str], command: str = "train") -> str:
    """Return the line that explains the error of Hydra's which these overrides raise."""
    with pytest.raises(Exception) as error:  # noqa: PT011
        load_config(overrides, command)
    return explain_hydra_error(error.value, command)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle=fcn8s", "modle= is not known: did you mean model=?"),
        ("trainer.max_epoch=3", "trainer.max_epoch= is not known: did you mean trainer.max_epochs=?"),
        ("data.bach_size=3", "data.bach_size= is not known: did you mean data.batch_size=?"),
        ("ckpt=a", "ckpt= is not known: did you mean checkpoint=?"),
        ("model=fcn8", "model=fcn8: there is no such option: did you mean fcn8s?"),
        ("model/encoder=resnet51", "model/encoder=resnet51: there is no such option: did you mean resnet50?"),
        ("trainer=dpd", "trainer=dpd: there is no such option: did you mean ddp?"),
        ("callbacks=[default,emma]", "callbacks=emma: there is no such option: did you mean ema?"),
        ("encoder=unet", "encoder= is not known: did you mean model/encoder=?"),
        ("max_epochs=3", "max_epochs= is not known: did you mean trainer.max_epochs=?"),
        ("learning_rate=3", "learning_rate= is not known: did you mean optimizer.lr=?"),
        ("hydra.run.dri=x", "hydra.run.dri= is not known: did you mean hydra.run.dir=?"),
        ("~mdoel", "mdoel= is not known: did you mean model=?"),
        ("zzz=1", "zzz= is not known; --help lists all keys"),
        ("hydra.sweeper.max_batch_size=1.5", "hydra.sweeper.max_batch_size=1.5: expected a whole number"),
        ("seed=0,1", "seed=0,1: several values are a sweep: add -m, or write seed=[0,1] for a list"),
        ("model=fcn8s,unet", "model=fcn8s,unet: several values are a sweep: add -m"),
        ("model/encoder=vgg16,resnet50", "model/encoder=vgg16,resnet50: several values are a sweep: add -m"),
        ("hydra.job.name=null", "hydra.job.name=null: expected a value"),
        ("hydra.run.dir={a:1}", "hydra.run.dir={a:1}: Cannot convert 'dict' to string: '{'a': 1}'"),
    ],
)
def test_suggestions(override, message):
    assert explanation([override]) == message


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["-m", "--help"]])
def test_flags_that_show_one_run_take_one_value(monkeypatch, flags):
    monkeypatch.setattr("sys.argv", ["train", "model=fcn8s,unet", *flags])
    message = "model=fcn8s,unet: several values are a sweep: --cfg and --help show one run, so give one value"
    assert explanation(["model=fcn8s,unet"]) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["experiment=camvid_mobilenet", "model=smp"],
            "experiment=camvid_mobilenet sets model/encoder, and the chosen",
        ),
        (["experiment=camvid_mobilenet_long", "model=smp"], "experiment=camvid_mobilenet sets model/encoder, and the"),
        (
            ["model=transformers", "model/encoder=vgg16"],
            "model/encoder=: the chosen model has no choice of encoder, it ",
        ),
    ],
)
def test_an_encoder_for_a_net_that_brings_its_own_is_explained(overrides, message):
    assert explanation(overrides).startswith(message)


@pytest.mark.parametrize("override", ["+modle=fcn8s", "++modle.x=1", "+trainre.max_epochs=3", "+zzz=1"])
def test_an_added_key_of_an_unknown_group_is_refused(override):
    with pytest.raises(SegmentError, match="is not known"):
        check_overrides([override], "train", {"model/encoder"})


def test_added_keys_of_known_groups():
    check_overrides(
        ["+trainer.profiler=simple", "+callbacks.mine={}", "model=fcn8s", "+experiment=x"], "train", {"model/encoder"}
    )


def test_a_command_s_own_groups_and_keys_are_suggested():
    assert explanation(["model=[fcn8s]"], "summary") == "model= is not known: did you mean models=?"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["effect=recolour", "effect.color=red"], "effect.color= is not known: did you mean effect.colour=?"),
        (
            ["effect=blur", "effect.colour=red"],
            "effect.colour= is a key of effect/recolour.yaml, which is not chosen: if the class that is chosen takes "
            "it, +effect.colour= adds it",
        ),
        (["effect.opacty=3"], "effect.opacty= is not known: did you mean effect.opacity=?"),
    ],
)
def test_keys_of_a_group_without_a_default_are_suggested(overrides, message):
    assert explanation(overrides, "apply") == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["loss=border_weighted", "loss.reduction=sum"],
            "loss.reduction= is a key of loss/cross_entropy.yaml, which is not chosen: if the class that is chosen",
        ),
        (["model.architecture=Unet"], "model.architecture= is a key of model/smp.yaml, which is not chosen: if"),
        (["model.tile=64"], "model.tile= is a key of model/unet_paper.yaml, which is not chosen: if"),
        (["loss=sum", "loss.parts.dice.smoth=1"], "loss.parts.dice.smoth= is not known"),
        (
            ["loss=sum", "loss.parts.ohem.treshold=1"],
            "loss.parts.ohem.treshold= is not known: did you mean loss.parts.",
        ),
        (["data.batchsize=4"], "data.batchsize= is not known: did you mean data.batch_size=?"),
        (
            ["hydra/launcher=basic", "hydra.launcher.jobs=2"],
            "hydra.launcher.jobs= is a key of hydra/launcher/segment",
        ),
        (["hydra.swep.dir=x"], "hydra.swep.dir= is not known: did you mean hydra.sweep.dir=?"),
        (["hydra.sweeper.n_trials=9"], "hydra.sweeper.n_trials= is a key of sweep/"),
        (["hydra.searchpath=[file://FOLDER]", "data=old"], "the YAML file of data has /loading in its defaults: leave"),
    ],
)
def test_keys_and_defaults_of_own_yaml_are_explained(tmp_path, overrides, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old.yaml").write_text("defaults:\n  - /loading@_here_: default\n\n_target_: mylab.Data\n")
    assert explanation([one.replace("FOLDER", str(tmp_path)) for one in overrides]).startswith(message)


def test_own_options_are_suggested(tmp_path, monkeypatch):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "leaf_loss.yaml").write_text("_target_: torch.nn.Identity")
    monkeypatch.setattr("sys.argv", ["train", "--config-dir", str(tmp_path), "loss=leaf_los"])
    message = "loss=leaf_los: there is no such option: did you mean leaf_loss?"
    assert explanation(["--config-dir", str(tmp_path), "loss=leaf_los"]) == message


def test_an_option_for_a_table_is_refused():
    with pytest.raises(SegmentError, match=r"^model.encoder= is a table of keys: did you mean model/encoder=res"):
        check_overrides(["model.encoder=resnet50"], "train", {"model/encoder"})


def test_flags(tmp_path):
    check_flags(["--config-dir", str(tmp_path), "-m", "--multirun"])
    check_flags(["--cfg=job", "--resolve"])
    check_flags(["--info=all"])
    with pytest.raises(SegmentError, match=r"^--cfg and --multirun are given: expected one of them \(--cfg shows one"):
        check_flags(["-m", "-c", "job"])
    with pytest.raises(SegmentError, match=r"^--config-dir is given 2 times, and Hydra reads one folder: give one$"):
        check_flags(["--config-dir", "x", "-cd=x"])
    check_flags(["--config-dir", CONF_DIR])
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "cross_entropy.yaml").touch()
    with pytest.raises(
        SegmentError, match=r"loss/cross_entropy\.yaml has the name of a file of this package.*rename it$"
    ):
        check_flags(["--config-dir", str(tmp_path)])
    with pytest.raises(SegmentError, match=r"^--config-dir nowhere is no folder$"):
        check_flags(["--config-dir=nowhere"])
    with pytest.raises(SegmentError, match=r"^--package needs a value$"):
        check_flags(["--package"])
    with pytest.raises(SegmentError, match=r"^--cfg needs a value, such as job$"):
        check_flags(["--cfg"])
    with pytest.raises(SegmentError, match=r"^--resolve shows a configuration: expected --cfg job beside it$"):
        check_flags(["--resolve"])
    with pytest.raises(SegmentError, match=r"^--confg-dir is not known: did you mean --config-dir\?$"):
        check_flags(["-m", "--confg-dir=x"])


def test_an_argument_that_a_part_does_not_take():
    config = {"_target_": "segment.training.CrossEntropy", "reduction": "mean", "reducton": "sum"}
    with pytest.raises(SegmentError, match=r"unexpected keyword argument 'reducton': did you mean reduction\?$"):
        instantiate(config)
