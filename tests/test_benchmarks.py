"""The benchmarks run from end to end at a small size and write their tables; the times do not matter here.

``benchmarks.startup`` is left to ``make bench``: it starts processes and measures them, nothing else.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import timing

ROOT = Path(__file__).parents[1]
SMALLEST = ["model.encoder.width=4", "model.encoder.depth=1", "model.decoder.skip_strides=[]"]
"""A net that is compiled within seconds."""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Run a benchmark in this process: the imports of a new one take ten seconds."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def start(name: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        timing.run(importlib.import_module(f"benchmarks.{name}").main)

    yield start
    torch.set_num_threads(threads)


def written(name: str) -> dict:
    return json.loads(Path("runs", "bench", f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["metric", "--runs=1", "--threads=2"],
        ["overhead", "--runs=1", "--steps=2"],
        ["loader", "--runs=1", "--images=8"],
        ["evaluation", "--runs=1", "--images=2"],
        ["models", "--runs=1", "--only=unet resnet34"],
        ["compiled", "--runs=1", "--side=32"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_each_benchmark_writes_its_table(arguments, bench, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.metric.SIZE", 64)
    monkeypatch.setattr("benchmarks.compiled.NETS", {"small": ["model=fcn_small", *SMALLEST]})
    pairs = importlib.import_module("benchmarks.models").PAIRS
    monkeypatch.setattr("benchmarks.models.PAIRS", {name: pair._replace(side=64) for name, pair in pairs.items()})
    bench(*arguments)
    kept = written(arguments[0] + "_part" * any(one.startswith("--only") for one in arguments))
    assert kept["options"] == arguments[1:]
    assert kept["rows"] or "without the peer" in capsys.readouterr().out


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_runs_on_a_cpu(tmp_path, monkeypatch):
    """It has a process of its own, since it changes torch's settings."""
    monkeypatch.chdir(tmp_path)
    small = ["--device=cpu", "--side=64", "--batch=2", "--runs=1", "--times=1", "--modes=eager", "--only=unet resnet34"]
    small += ["--search", "--profile"]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu", *small]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = written("gpu_search_part")
    assert kept["options"] == small
    longest = kept["rows"][-1]["longest"]["ours"]
    assert "aten::convolution_backward" in [one["operation"] for one in longest]
    assert [one["ms"] for one in longest] == sorted((one["ms"] for one in longest), reverse=True)
    assert f"{longest[0]['ms']:.2f} ms" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metric", "--runs", "0"], "--runs: 0: expected a whole number from 1"),
        (["models", "--only", "nosuch"], "error: --only nosuch: no pair has a name with this in it"),
        (["overhead", "data=voc", "data.root=/nowhere"], "error: no data set at data.root=/nowhere"),
        (["overhead", "trainer.precision=16"], "error: trainer.precision=16: both sides run on --device"),
        (["gpu", "--device", "cpu", "--root", "/nowhere"], "error: no data set at data.root=/nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments, message, bench, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        bench(*arguments)
    assert end.value.code
    assert message in f"{capsys.readouterr().err}{end.value.code}"
    assert not (tmp_path / "runs").exists()


def test_the_peers_need_no_other_versions_than_the_environment():
    """``make bench`` installs them without their requirements, and other versions would break what is there."""
    peers, ours = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("benchmarks/peers.txt", "constraints.txt")
    )
    assert {name: version for name, version in peers.items() if ours.get(name, version) != version} == {}


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
