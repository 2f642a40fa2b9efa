"""``--help`` lists the groups that a command takes, and explains each key."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from segment.cli.config import CONF_DIR, flatten, group_options
from segment.cli.help import HIDDEN, file_comments, nearest, print_help
from segment.errors import SegmentError

COMMANDS = group_options(".")


def help_of(capsys, *arguments: str) -> str:
    print_help(*arguments[:1], arguments[1:])
    return capsys.readouterr().out


def unexplained(text: str) -> list[str]:
    """Return the settings that no text stands beside or below."""
    lines = text.partition("Keys and their values")[2].splitlines()
    bare = [
        i for i, line in enumerate(lines) if line.startswith("  ") and "=" in line and len(line.split(maxsplit=1)) < 2
    ]
    return [lines[i] for i in bare if not lines[i + 1].startswith(" " * 30)]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_key_of_each_command_is_explained(capsys, command):
    text = help_of(capsys, command)
    assert unexplained(text) == []
    assert f"python -m segment.{command} " in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_chosen_options_explain_a_key_before_others_do(capsys, tmp_path):
    text = help_of(capsys, "train", "data=folder", "data.root=x")
    assert "length in pixels of the image's shorter side at scale 1" in text  # conf/data/ade20k_full.yaml differs
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mydata.yaml").write_text("defaults: [folder, _self_]\n")
    mine = help_of(capsys, "train", "data=mydata", "data.root=x", "--config-dir", str(tmp_path))
    (line,) = [line for line in text.splitlines() if line.startswith("  data.classes=")]
    assert line in mine
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("_target_: mylab.Tiny\nwidth: 8\ndepth: 3  # number of levels\n")
    mine = help_of(capsys, "train", "model=tiny", "--config-dir", str(tmp_path))
    assert "  model.width=8\n" in mine
    assert "  model.depth=3                     number of levels\n" in mine


SHARED = {"data": "loading", "model": "net"}
"""Groups whose options get further keys from a folder of their own."""
GROUPS = (
    "callbacks",
    "data",
    "hydra/launcher",
    "inference",
    "logger",
    "loss",
    "model",
    "model/encoder",
    "optimizer",
    "scheduler",
    "trainer",
)


@pytest.mark.parametrize("group", GROUPS)
def test_each_key_of_each_option_has_a_comment(group):
    files = [path for one in (group, SHARED.get(group, group)) for path in Path(CONF_DIR, one).glob("*.yaml")]
    comments = {key: text for path in files for key, text in file_comments(path)}
    for path in files:
        content = yaml.safe_load(path.read_text()) or {}
        keys = [key for key, _ in flatten({key: value for key, value in content.items() if key != "defaults"}) if key]
        hidden = ("_target_", *HIDDEN)
        assert [key for key in keys if not key.endswith(hidden) and not nearest(key, comments)] == [], path


@pytest.mark.parametrize(
    ("command", "groups"),
    [
        ("evaluate", {"data", "inference", "trainer"}),
        ("check", {"data"}),
        ("predict", {"inference"}),
        ("export", set()),
    ],
)
def test_a_command_lists_only_the_groups_that_it_takes(capsys, command, groups):
    listed = help_of(capsys, command).partition("Keys and their")[0].partition("Groups and their")[2]
    found = {line.split()[0] for line in listed.splitlines()[1:] if line.startswith("  ") and line[2] != " "}
    assert found == groups


def test_the_chosen_option_explains_its_keys(capsys):
    text = help_of(capsys, "train", "model=unet", "model/encoder=timm")
    assert "model.encoder.weights=imagenet    imagenet, a file in timm's layout, or null\n" in text
    assert "model.encoder.weights=null        a file with this encoder's weights, or null\n" in help_of(capsys, "train")
    assert "[now timm]" in text


def test_own_options_are_listed_and_explained(capsys, tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: mylab.Loss\ngamma: 2  # focus on hard pixels\n")
    text = help_of(capsys, "train", "--config-dir", str(tmp_path), "loss=mine")
    assert "lovasz, mine, ohem" in text
    assert "  loss.gamma=2                      focus on hard pixels\n" in text


def test_help_imports_no_torch_and_no_pydantic():
    code = (
        "import runpy, sys; sys.argv = ['train', '--help']; runpy.run_module('segment.train', run_name='__main__')\n"
        "sys.exit(str({'torch', 'lightning', 'pydantic', 'numpy'} & {*sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "\n")
    assert "seed=0 " in done.stdout


@pytest.mark.parametrize("content", [b"a: [", b"a: caf\xe9"])
def test_a_damaged_option_is_skipped_until_it_is_chosen(capsys, tmp_path, content):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_bytes(content)
    assert "mine" in help_of(capsys, "train", "--config-dir", str(tmp_path))
    with pytest.raises(SegmentError, match=r"^cannot read the YAML files: .*(mine.yaml|utf-8)"):
        print_help("train", ["loss=mine", "--config-dir", str(tmp_path)])
