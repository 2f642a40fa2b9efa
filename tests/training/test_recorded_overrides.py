"""``resume=`` and ``repeat=`` of an untrusted run folder run no code that the folder names."""

import json
import sys

import pytest

from segment.cli.config import load_config, plain
from segment.errors import SegmentError
from segment.training.resume import apply_recorded_overrides


def write_record(folder, overrides, config_dirs=()):
    folder.mkdir(exist_ok=True)
    record = {"overrides": overrides, "config_dirs": [*map(str, config_dirs)], "directory": str(folder)}
    (folder / "provenance.json").write_text(json.dumps({**record, "config": plain(load_config()), "choices": {}}))
    return folder


def command_line(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    apply_recorded_overrides()
    return sys.argv[1:]


@pytest.mark.parametrize("key", ["resume", "repeat"])
@pytest.mark.parametrize(
    "override",
    [
        "+callbacks.evil={_target_:segment.sweeps.process.run_job,command:[touch,done]}",
        "+callbacks.evil={_target_:torch.utils.collect_env.run,command:touch done}",
        "+callbacks.evil={_target_:mylab.Callback}",
        "+callbacks.evil={_target_:lightning.pytorch.callbacks.ModelCheckpoint,dirpath:/tmp}",
        "model._target_=os.system",
        "+logger.x={_target_:lightning.pytorch.loggers.WandbLogger,settings:{base_url:http://127.0.0.1:1}}",
        "+logger.x={_target_:lightning.pytorch.loggers.WandbLogger,entity:evil}",
        "+logger.x={_target_:lightning.pytorch.loggers.WandbLogger,dir:/tmp}",
        "+logger.x={_target_:lightning.pytorch.loggers.MLFlowLogger,tracking_uri:http://127.0.0.1:1}",
        "hydra.job.env_set={LD_PRELOAD:x}",
        "seed=0,1",
    ],
)
def test_evil_overrides_are_refused(tmp_path, monkeypatch, key, override):
    folder = write_record(tmp_path / "run", [override])
    with pytest.raises(SegmentError) as error:
        command_line(monkeypatch, f"{key}={folder}")
    assert "\n" not in str(error.value)


def test_where_a_logger_sends_its_values_is_typed_again(tmp_path, monkeypatch):
    folder = write_record(tmp_path / "run", ["logger=wandb", "logger.wandb.project=leaves", "+logger.wandb.entity=lab"])
    with pytest.raises(
        SegmentError, match=r"logger.wandb.entity= is not used from a file: type \+logger.wandb.entity=$"
    ):
        command_line(monkeypatch, f"repeat={folder}")
    assert "+logger.wandb.entity=lab" in command_line(monkeypatch, f"repeat={folder}", "+logger.wandb.entity=lab")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\nhydra:\n  callbacks:\n    x: {_target_: os.system}\n", "hydra.callbacks"),
        ("# @package _global_\nhydra:\n  job:\n    env_set: {LD_PRELOAD: x}\n", "env_set"),
        ("# @package _global_\nhydra:\n  job_logging:\n    handlers: {x: {(): os.system}}\n", "job_logging"),
        ('# @package _global_\nhydra:\n  callbacks: {"a\\nb": {_target_: os.system}}\n', "hydra.callbacks"),
        ("# @package _global_\nhydra:\n  run: {dir: /tmp/x}\n", "hydra.run.dir"),
        ("# @package _global_\nhydra:\n  output_subdir: ../x\n", "hydra.output_subdir"),
        ("# @package _global_\nhydra:\n  sweep: {subdir: ../x}\n", "hydra.sweep.subdir"),
        ("# @package _global_\nhydra:\n  mode: MULTIRUN\n", "hydra.mode"),
        ("# @package _global_\ncallbacks:\n  best: {filename: ../../x}\n", "filename=../../x in callbacks is no plain"),
        ("# @package _global_\nmodel:\n  _target_: mylab.Net\n", r"add trust=\[mylab\]"),
    ],
)
def test_yaml_of_the_record_is_checked(tmp_path, monkeypatch, text, message):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(text)
    folder = write_record(tmp_path / "run", ["experiment=evil"], [tmp_path / "conf"])
    with pytest.raises(SegmentError, match=message):
        command_line(monkeypatch, f"repeat={folder}")


@pytest.mark.parametrize("value", ["${ oc.env:SECRET }", "$\\{oc.env\\:SECRET\\}"])
def test_a_record_reads_no_environment_however_it_is_spelled(tmp_path, monkeypatch, value):
    monkeypatch.setenv("SECRET", "7")
    folder = write_record(tmp_path / "run", [f"seed={value}"])
    with pytest.raises(SegmentError, match="refused"):
        command_line(monkeypatch, f"repeat={folder}")


def test_the_environment_in_a_record_s_yaml(tmp_path, monkeypatch):
    """A variable is read if the user's own arguments name it. A folder is never made."""
    monkeypatch.setenv("SECRET", "7")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    file = tmp_path / "conf" / "experiment" / "evil.yaml"
    file.write_text("# @package _global_\nseed: ${oc.env:SECRET}\n")
    folder = write_record(tmp_path / "run", ["experiment=evil"], [tmp_path / "conf"])
    with pytest.raises(SegmentError, match="refused, its configuration reads the environment variable 'SECRET'"):
        command_line(monkeypatch, f"repeat={folder}")
    assert "experiment=evil" in command_line(monkeypatch, f"repeat={folder}", "seed=${oc.env:SECRET}")
    file.write_text(f"# @package _global_\nseed: ${{unique_folder:{tmp_path}/made}}\n")
    with pytest.raises(SegmentError, match="refused, its configuration makes the folder"):
        command_line(monkeypatch, f"repeat={folder}")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        f"a: &a [{'x,' * 1000}]\nb: [{'*a,' * 1000}]\n",
        "a: &a {b: *a}\n",
        "a: " + "[" * 10_000,
        "#" * 200_000,
    ],
)
def test_yaml_of_a_record_that_stands_for_gigabytes(tmp_path, monkeypatch, text):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    file = tmp_path / "conf" / "experiment" / "evil.yaml"
    folder = write_record(tmp_path / "run", ["experiment=evil"], [tmp_path / "conf"])
    file.write_text("# @package _global_\nseed: &a 3\ndata: {seed: *a}\n")
    assert "experiment=evil" in command_line(monkeypatch, f"repeat={folder}")
    file.write_text(f"# @package _global_\n{text}")
    with pytest.raises(SegmentError, match="is too large or nested too deep"):
        command_line(monkeypatch, f"repeat={folder}")


def test_a_record_has_one_config_folder(tmp_path, monkeypatch):
    folder = write_record(tmp_path / "run", [], [tmp_path, tmp_path])
    with pytest.raises(SegmentError, match="it has several --config-dir, expected one"):
        command_line(monkeypatch, f"repeat={folder}")


def test_a_record_s_yaml_is_no_sweep(tmp_path, monkeypatch):
    """The jobs of a sweep would have overrides that nothing has checked."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  sweeper: {params: {+callbacks.x: y}}\n"
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(text)
    folder = write_record(tmp_path / "run", ["experiment=evil"], [tmp_path / "conf"])
    with pytest.raises(SegmentError, match=r"changes hydra.sweeper"):
        command_line(monkeypatch, "-m", f"repeat={folder}")


def test_hydra_s_settings_that_are_typed_count(tmp_path, monkeypatch):
    folder = write_record(tmp_path / "run", ["model=fcn8s"])
    typed = [f"hydra.run.dir={tmp_path}/b", f"hydra.sweep.dir={tmp_path}/c", "hydra/launcher=basic"]
    assert command_line(monkeypatch, f"repeat={folder}", *typed)[-3:] == typed


def test_trust_counts_as_typed_alone(tmp_path, monkeypatch):
    folder = write_record(tmp_path / "run", ["+callbacks.mine={_target_:tests.test_train.Quit}"])
    assert "trust=[tests]" in command_line(monkeypatch, f"repeat={folder}", "trust=[tests]")
    with pytest.raises(SegmentError, match="refused"):
        command_line(monkeypatch, f"repeat={folder}", "trust=[test]")
    write_record(folder, ["+callbacks.mine={_target_:tests.test_train.Quit}", "trust=[tests]"])
    with pytest.raises(SegmentError, match="refused"):
        command_line(monkeypatch, f"repeat={folder}")


def test_flags_stand_before_all_overrides(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    folder = write_record(tmp_path / "run", ["model=fcn8s", "model.encoder.weights=null"], [tmp_path / "conf"])
    found = command_line(monkeypatch, f"repeat={folder}", "seed=3")
    assert found == [f"--config-dir={tmp_path}/conf", "model=fcn8s", "model.encoder.weights=null", *found[3:]]
    assert found[3:] == [f"repeat={folder}", "seed=3"]
    found = command_line(monkeypatch, f"repeat={folder}", "--config-dir", str(tmp_path / "conf"), "seed=3")
    assert found[:2] == ["--config-dir", str(tmp_path / "conf")]
    assert sum(argument.startswith("--config-dir") for argument in found) == 1


@pytest.mark.parametrize(
    "text", ["[1]", "3", "{}", "[" * 200_000, '{"overrides": 3}', '{"overrides": [3], "config_dirs": []}', "\x00", ""]
)
def test_damaged_records_are_one_line(tmp_path, monkeypatch, text):
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(SegmentError) as error:
        command_line(monkeypatch, f"repeat={tmp_path}")
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["gone", "a\0b", "a\n\x1b[31m", "a" * 5000])
def test_a_config_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, path):
    folder = write_record(tmp_path / "run", [], [path])
    with pytest.raises(SegmentError, match=r"its --config-dir '.{1,99}'? is no folder: give --config-dir DIR$"):
        command_line(monkeypatch, f"repeat={folder}")
    (tmp_path / "conf").mkdir()
    assert command_line(monkeypatch, f"repeat={folder}", "--config-dir", str(tmp_path / "conf"))


def test_an_override_of_thousands_of_letters_is_a_short_message(tmp_path, monkeypatch):
    folder = write_record(tmp_path / "run", ["a" * 5000])
    with pytest.raises(SegmentError) as error:
        command_line(monkeypatch, f"repeat={folder}")
    assert len(str(error.value)) <= 300
