"""A user's mistake is one message and a non-zero exit code; other errors keep their traceback."""

import logging
import os
import re
import signal
import subprocess
import sys
import warnings

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

from segment.__main__ import list_commands
from segment.cli.config import load_config, refuse_null_options
from segment.cli.entry_point import entry_point, silence_known_warnings
from segment.cli.run_folder import refuse_foreign_record
from segment.errors import SegmentError


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run a function as the command ``check``, with a command line."""

    def start(run, *overrides, prepare=None):
        place = [] if any("hydra.run.dir" in one for one in overrides) else [f"hydra.run.dir={tmp_path / 'run'}"]
        monkeypatch.setattr(sys, "argv", ["check", *overrides, *place])
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        entry_point("check", run, prepare)

    return start


def raising(error):
    def run(config):
        raise error

    return run


def test_the_configuration_of_the_command_line(command):
    seen = []
    command(seen.append, "seed=3", prepare=lambda: sys.argv.append("data=voc"))
    assert seen[0].seed == 3
    assert seen[0].data._target_ == "segment.data.VOCDataModule"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SegmentError("no \x1b[2J mask"), "error: no \\x1b[2J mask"),
        (
            ValueError("`val_check_interval` (500) too large. If"),
            "error: trainer.val_check_interval (500) too large, or set trainer.check_val_every_n_epoch=null to count "
            "across epochs",
        ),
        (type("MisconfigurationException", (Exception,), {})("no\n accelerator"), "error: no accelerator"),
        (PermissionError(13, "Permission denied", "a\nb/run.lock"), "error: a\\nb/run.lock: Permission denied"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message(command, error, message):
    with pytest.raises(SystemExit) as stopped:
        command(raising(error))
    assert stopped.value.code == message


@pytest.mark.parametrize(("content", "is_foreign"), [("lr: 1", True), ("trust: []", False), ("", False), ("{", False)])
def test_the_record_of_another_program_of_hydra_is_kept(tmp_path, monkeypatch, content, is_foreign):
    record = tmp_path / "a b" / ".hydra" / "config.yaml"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    monkeypatch.setattr(sys, "argv", ["train", f"hydra.run.dir={tmp_path / 'a b'}"])
    if is_foreign:
        with pytest.raises(SystemExit, match=r"/a b/.hydra is another program's record: choose another hydra.run.dir$"):
            entry_point("train", print)
        assert not record.with_name("overrides.yaml").exists()
    else:
        refuse_foreign_record()


@pytest.mark.parametrize(("content", "is_foreign"), [("lr: 1", True), ("trust: []", False), ("[", False)])
def test_the_record_of_another_programs_sweep_is_kept(tmp_path, monkeypatch, content, is_foreign):
    (tmp_path / "multirun.yaml").write_text(content)
    monkeypatch.setattr(sys, "argv", ["train", "-m", f"hydra.sweep.dir={tmp_path}"])
    if is_foreign:
        with pytest.raises(
            SegmentError, match=r"/multirun.yaml is another program's record: choose another hydra.sweep.dir$"
        ):
            refuse_foreign_record()
    else:
        refuse_foreign_record()


@pytest.mark.parametrize("override", ["logger=null", "experiment=null", "+model/encoder=null", "logger=null,wandb"])
def test_null_is_no_option(override):
    with pytest.raises(SegmentError, match=rf"^{re.escape(override)}: expected one of .*; leave it out, or ~"):
        refuse_null_options(["-m", "seed=null", override])
    refuse_null_options(["seed=null", "resume=null", "~logger", "data.classes=null"])


def test_a_folder_that_cannot_be_made_is_one_message(command, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"^error: .*file/run: Not a directory$"):
        command(print, f"hydra.run.dir={tmp_path / 'file' / 'run'}")
    (tmp_path / "runs").touch()
    monkeypatch.setattr(sys, "argv", ["check"])
    with pytest.raises(SystemExit, match=r"^error: cannot make runs/.* \(File exists\): choose another folder with"):
        entry_point("check", print)


def test_an_unknown_option_of_a_list_is_one_message(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "callbacks=[default,emma]"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit, match=r"^error: callbacks=emma: there is no such option"):
        entry_point("train", print)


def test_a_number_that_python_does_not_read_is_one_message(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", f"seed={'1' * 5000}"])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit, match=r"^error: a number of the command line or of a YAML file has more than 4300"):
        entry_point("train", print)
    with pytest.raises(SegmentError, match=r"^a number of the command line"):
        load_config(sys.argv[1:])


@pytest.mark.parametrize("override", ["+metrics=3", "metrics=[f1,3]", "model=true"])
def test_a_number_is_no_option(monkeypatch, override):
    monkeypatch.setattr(sys, "argv", ["train", override])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit, match=r"^error: .*(3|1.5|true): there is no such option") as stopped:
        entry_point("train", print)
    assert "\n" not in stopped.value.code


def test_a_missing_value_and_an_unknown_interpolation_name_the_key(command):
    config = OmegaConf.create({"a": {"b": "???", "c": "${x}"}})
    for key, error, message in (
        ("b", MissingMandatoryValue, "error: a.b is missing: give a.b=VALUE on the command line"),
        ("c", InterpolationKeyError, "error: Interpolation key 'x' not found"),
    ):
        with pytest.raises(error) as raised:
            config.a[key]
        with pytest.raises(SystemExit) as stopped:
            command(raising(raised.value))
        assert stopped.value.code == message


def test_a_mistake_before_hydra_starts_is_one_message(command):
    with pytest.raises(SystemExit, match=r"^error: no checkpoint$"):
        command(print, prepare=lambda: raising(SegmentError("no checkpoint"))(None))


def test_a_fault_of_this_package_shows_its_traceback(command, capfd):
    with pytest.raises(SystemExit) as stopped:
        command(raising(ZeroDivisionError("a bug")))
    assert stopped.value.code == 1
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err


def test_known_warnings_are_hidden_and_others_are_not(recwarn):
    level = logging.getLogger("lightning.pytorch").level
    with warnings.catch_warnings():
        silence_known_warnings()
        warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)
        warnings.warn("something new", stacklevel=1)
    logging.getLogger("lightning.pytorch").setLevel(level)
    assert [str(one.message) for one in recwarn] == ["something new"]


def test_damaged_yaml_of_the_user_s_is_one_message(command, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("a: [")
    with pytest.raises(SystemExit, match=r"^error: cannot read the YAML files: .*mine.yaml.*"):
        command(print, "data=mine", "--config-dir", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^1$"):  # a fault of this package
        command(raising(UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "a bug")))


def test_a_key_of_a_preset_that_the_chosen_option_does_not_take_is_left_out(monkeypatch, tmp_path, capsys):
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text("_target_: segment.training.DiceLoss\n")
    flags = ["--config-dir", str(tmp_path / "conf"), f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["train", *flags, "experiment=voc_fcn32s_heavy", "loss=mine"])
    GlobalHydra.instance().clear()
    seen = []
    entry_point("train", seen.append)
    assert seen[0].loss == {"_target_": "segment.training.DiceLoss"}
    assert capsys.readouterr().out.startswith("left out loss.reduction of the experiment: the chosen option does")


def test_ctrl_c_during_the_imports_of_a_command_is_one_line(tmp_path):
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    command = [sys.executable, "-m", "segment.train"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "interrupted\n")
    assert sys.excepthook.__module__ != "segment"  # a program that imports the package keeps its own


def test_the_list_of_commands_takes_no_command(capsys):
    list_commands(["--help"])
    assert "segment.train" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^error: segment takes no 'train': python -m segment.COMMAND runs a command"):
        list_commands(["train", "model=unet"])


@pytest.mark.parametrize("printer", ["exit", "print", "__import__('rich.console').console.Console().print"])
def test_a_closed_pipe_ends_a_command_without_a_word(printer):
    code = "from segment.cli.entry_point import exit_cleanly\n"
    code += f"exit_cleanly(lambda: (print('x'), {printer}('x\\n' * 10_000)))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
