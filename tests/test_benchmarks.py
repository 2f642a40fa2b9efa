"""The benchmarks run from end to end at a small size and write their tables; the times do not matter here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import timing

ROOT = Path(__file__).parents[1]
SMALL_GPU_RUN = ["--device=cpu", "--side=64", "--batch=2", "--runs=1", "--times=1", "--modes=eager", "--only=unet"]


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["metric", "--runs=1", "--threads=2"],
        ["overhead", "--runs=1", "--steps=2"],
        ["loader", "--runs=1", "--images=8"],
        ["evaluation", "--runs=1", "--images=2"],
        ["models", "--runs=1", "--only=unet resnet34"],
        ["startup", "--runs=1"],
        ["compiled", "--runs=1", "--side=32"],
        ["gpu", *SMALL_GPU_RUN, "--search", "--profile"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_each_benchmark_writes_its_table(arguments, tmp_path):
    done = bench(tmp_path, f"benchmarks.{arguments[0]}", *arguments[1:])
    assert done.returncode == 0, done.stderr
    name = (
        arguments[0]
        + "_search" * ("--search" in arguments)
        + "_part" * any(one.startswith("--only") for one in arguments)
    )
    kept = json.loads((tmp_path / "runs" / "bench" / f"{name}.json").read_text())
    assert kept["options"] == arguments[1:]
    assert kept["rows"] or "without the peer" in done.stdout
    if "--profile" in arguments:
        longest = kept["rows"][-1]["longest"]["ours"]
        assert longest[0]["operation"] == "aten::convolution_backward"
        assert f"{longest[0]['ms']:.2f} ms" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmarks.metric", "--runs", "0"], "--runs: 0: expected a whole number from 1"),
        (["benchmarks.models", "--only", "nosuch"], "error: --only nosuch: no pair has a name with this in it"),
        (["benchmarks.overhead", "data=voc", "data.root=/nowhere"], "error: no data set at data.root=/nowhere"),
        (["benchmarks.overhead", "trainer.precision=16"], "error: trainer.precision=16: both sides run on --device"),
        (["benchmarks.gpu", "--device", "cpu", "--root", "/nowhere"], "error: no data set at data.root=/nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path):
    done = bench(tmp_path, *arguments)
    assert done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_goals_are_listed_with_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "FOLDER", tmp_path / "bench")
    rows = [
        {"what": "ours / theirs", "ratio": 1.05, "goal": 1.02},
        {"what": "loader", "times": 1.4, "goal": 1.35},
        {"what": "no goal", "ratio": 0.5},
        {"what": "--help", "seconds": 0.5, "goal": 0.5},
    ]
    timing.keep("one", rows)
    timing.keep("of another run", rows)
    _, *lines = timing.goal_lines(["one", "failed"])
    assert [" ".join(line.split()) for line in lines] == [
        "one: ours / theirs at most 1.02 1.05 missed",
        "one: loader at least 1.35 1.40 kept",
        "one: --help at most 0.50 s 0.50 kept",
    ]
    assert len({len(line.rpartition(" ")[0].rstrip()) for line in lines}) == 1  # columns
