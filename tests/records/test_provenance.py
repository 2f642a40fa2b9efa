"""provenance.json records what a run depends on, and names what changed since then."""

import json
import subprocess
from pathlib import Path

import pytest

from segment.cli.config import flatten
from segment.errors import SegmentError
from segment.records import provenance
from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.records.provenance import (
    changed_keys,
    code_version,
    collect_provenance,
    environment_changes,
    package_versions,
    read_provenance,
    way_on,
    write_provenance,
)

FACTS = {"overrides": ["seed=1"], "config_dirs": [], "directory": "/", "config": {"seed": 1}, "choices": {}}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Put the package's sources into a git repository of their own."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", package, *command], check=True)
    monkeypatch.setattr(provenance, "SOURCES", (str(package),))
    return package


def test_the_starts_of_a_resumed_run_are_kept(tmp_path):
    folder, record = RunFolder(tmp_path), collect_provenance(**FACTS)
    assert read_provenance(folder) is None
    folder.hydra.mkdir()
    write_provenance(folder, record, step=0, earlier=None)
    first = read_provenance(folder)
    write_provenance(folder, record, step=7, earlier=first)
    found = read_provenance(folder)
    assert [start["step"] for start in found["starts"]] == [0, 7]
    assert {key: found[key] for key in FACTS} == FACTS
    assert found["versions"]["python"].startswith("3.")
    assert package_versions().keys() >= {"torch", "segment", "numpy"}


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", json.dumps({**FACTS, "config": None}), json.dumps({**FACTS, "starts": 3}), "[" * 100_000],
)
def test_a_damaged_record_is_refused(tmp_path, content):
    RunFolder(tmp_path).provenance.write_text(content)
    with pytest.raises(SegmentError, match=r"^cannot read .*provenance.json: "):
        read_provenance(RunFolder(tmp_path))


def test_uncommitted_changes_are_recorded_with_the_run(repository, tmp_path):
    folder = RunFolder(tmp_path / "run")
    clean = code_version()
    assert len(clean["commit"]) == 40
    assert (clean["changes"], clean["new_files"]) == (None, [])
    (repository / "__init__.py").write_text("a = 2\n")
    (repository / "new.py").touch()
    changed = code_version()
    assert changed["commit"] == clean["commit"]
    assert changed["changes"]
    assert changed["new_files"] == ["new.py"]
    write_provenance(folder, collect_provenance(**FACTS), 0, None)
    assert "+a = 2" in folder.git_diff.read_text()
    (repository / "__init__.py").write_text("a = 1\n")
    write_provenance(folder, collect_provenance(**FACTS), 0, None)
    assert not folder.git_diff.exists()


def test_an_installed_package_has_no_commit(repository, tmp_path, monkeypatch):
    """A package that is installed below another project's checkout is not part of it."""
    site = Path(repository, "site-packages")
    site.mkdir()
    (site / "__init__.py").touch()
    monkeypatch.setattr(provenance, "SOURCES", (str(site),))
    assert code_version() == {"commit": None, "changes": None, "new_files": []}


def test_changed_keys_are_named_with_both_values():
    then, now = {"a": {"b": 1, "c": None}, "d": [1], "e": {}}, {"a": {"b": 2, "c": None}, "d": [1], "f": "x" * 50}
    assert changed_keys(then, now) == {"a.b": "a.b: 1 -> 2", "f": f"f: null -> {'x' * 40}...", "e": "e: {} -> null"}
    assert dict(flatten(then)) == {"a.b": 1, "a.c": None, "d": [1], "e": {}}


def test_changes_of_code_packages_device_and_data_are_named():
    then = {"git": {"commit": "a"}, "versions": {"torch": "1"}, "device": "cpu", "world_size": 1, "data": {"val": "x"}}
    now = {**then, "versions": {"torch": "2"}, "data": {"val": "y"}, "overrides": ["other"]}
    assert environment_changes(then, now) == ["data.val: x -> y", "versions.torch: 1 -> 2"]


def test_a_path_that_is_not_utf_8_is_read_as_written(tmp_path):
    """The names of files are bytes, and Python escapes those that are no UTF-8."""
    record = {"overrides": ["data.root=\udce9"], "config_dirs": [], "directory": "/\udce9", "config": {}, "choices": {}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert read_provenance(RunFolder(tmp_path)) == record
    JobRecord(["data.root=\udce9"]).write(tmp_path / "job.json")
    assert JobRecord.read(tmp_path / "job.json").overrides == ["data.root=\udce9"]


@pytest.mark.parametrize("value", [3, [], None])
def test_the_recorded_loggers_are_a_table(tmp_path, value):
    record = {"overrides": [], "config_dirs": [], "directory": "/", "config": {}, "choices": {}, "loggers": value}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(SegmentError, match=r"loggers: Input should be a valid dict"):
        read_provenance(RunFolder(tmp_path))


def test_the_way_on_names_the_trust_that_is_needed(tmp_path):
    folder = RunFolder(tmp_path / "my run")
    folder.checkpoints.mkdir(parents=True)
    assert way_on(folder) == "nothing was saved yet, so start it again"
    folder.last_checkpoint.touch()
    assert way_on(folder).endswith("my run' continues from its last checkpoint")
    own = {"loss": {"_target_": "mylab.Loss"}, "optimizer": {"_target_": "torch.optim.SGD"}}
    write_provenance(folder, collect_provenance(**{**FACTS, "config": own}), 0, None)
    assert way_on(folder).endswith("my run' 'trust=[mylab]' continues from its last checkpoint")
    folder.provenance.write_text("{")
    assert way_on(folder).endswith("my run' continues from its last checkpoint")


def test_a_change_of_the_user_s_own_code_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    losses = tmp_path / "own_package" / "losses.py"
    losses.write_text("a = 1\n")
    (tmp_path / "own_module.py").write_text("b = 1\n")
    config = {"loss": {"_target_": "own_package.losses.Loss"}, "x": [{"_target_": "own_module.X"}]}
    facts = {**FACTS, "config": config | {"y": {"_target_": "missing_package.Y"}}}
    then = collect_provenance(**facts)
    assert then["own_code"].keys() == {"own_package", "own_module", "missing_package"}
    assert then["own_code"]["missing_package"] is None
    assert environment_changes(then, collect_provenance(**facts)) == []
    losses.write_text("a = 2\n")
    (change,) = environment_changes(then, collect_provenance(**facts))
    assert change.startswith("own_code.own_package: ")
    (tmp_path / "own_module.py").write_text("b = 2\n")
    assert len(environment_changes(then, collect_provenance(**facts))) == 2
    assert collect_provenance(**FACTS)["own_code"] == {}
