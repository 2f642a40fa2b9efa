"""The folder of a run, and Hydra's record of it."""

import sys

import pytest

from segment.cli.run_folder import read_hydra_record, unique_folder


def test_two_runs_that_begin_in_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "seed=1"])
    place = str(tmp_path / "runs" / "a")
    assert [unique_folder(place) for _ in range(3)] == [place, f"{place}_2", f"{place}_3"]
    assert len([*tmp_path.glob("runs/*")]) == 3


@pytest.mark.parametrize("flag", ["--help", "-h", "--cfg", "--cfg=job", "-c", "--info"])
def test_help_makes_no_folder(tmp_path, monkeypatch, flag):
    monkeypatch.setattr(sys, "argv", ["train", "seed=1", flag])
    assert unique_folder(str(tmp_path / "a")) == str(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_hydra_s_record_is_read_as_far_as_it_is_readable(tmp_path):
    assert read_hydra_record(tmp_path) == ({}, {})
    (tmp_path / "config.yaml").write_text("seed: 3\ncopy: ${seed}\n")
    (tmp_path / "hydra.yaml").write_text("hydra: {runtime: {choices: {model: unet}}}\n")
    assert read_hydra_record(tmp_path) == ({"seed": 3, "copy": 3}, {"model": "unet"})
    (tmp_path / "config.yaml").write_text("seed: [")
    (tmp_path / "hydra.yaml").write_text("hydra: {runtime: {choices: ${nothing}}}\n")
    assert read_hydra_record(tmp_path) == ({}, {})


SECRETS = ("${oc.env:SECRET}", '"\\x24{oc.env:SECRET}"', "${${name}:SECRET}", "${oc.decode:${oc.env:SECRET}}")


@pytest.mark.parametrize("secret", SECRETS)
def test_a_record_calls_no_resolver(tmp_path, monkeypatch, secret):
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "config.yaml").write_text(f"name: oc.env\nmodel: {secret}\n")
    (tmp_path / "hydra.yaml").write_text(f"hydra: {{runtime: {{choices: {{model: '{secret}'}}}}}}\n")
    found = read_hydra_record(tmp_path)
    assert "model" in found[0]
    assert "hunter2" not in str(found)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 90_000, "- " * 49_000, "{a: " * 20_000, "? " * 40_000, BOMB, "a: " + "b" * 200_000, "!!bool x",
        "!!int ''", "x: 0x" + "f" * 50_000, "!!python/object:os.system x", "a: \x00", "[1]",
    ],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_yaml_bombs_of_a_record_are_not_read(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert read_hydra_record(tmp_path) == ({}, {})
