"""The benchmarks run from end to end, in little, and leave their tables; what they measure is no matter here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LITTLE = ["--device=cpu", "--side=64", "--batch=2", "--runs=1", "--times=1", "--modes=eager", "--only=unet"]


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["metric", "--runs=1", "--threads=2"],
        ["overhead", "--runs=1", "--steps=2"],
        ["loader", "--runs=1", "--images=8"],
        ["models", "--runs=1", "--only=unet"],
        ["gpu", *LITTLE, "--search", "--profile"],
    ],
    ids=lambda words: words[0],
)
def test_a_table_is_left(words, tmp_path):
    done = bench(tmp_path, f"benchmarks.{words[0]}", *words[1:])
    assert done.returncode == 0, done.stderr
    name = words[0] + "_search" * ("--search" in words) + "_part" * ("--only=unet" in words)
    kept = json.loads((tmp_path / "runs" / "bench" / f"{name}.json").read_text())
    assert kept["options"] == words[1:]
    assert kept["rows"] or "without the peer" in done.stdout
    if "--profile" in words:
        longest = kept["rows"][-1]["longest"]["ours"]
        assert longest[0]["operation"] == "aten::convolution_backward"
        assert f"{longest[0]['ms']:.2f} ms" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmarks.metric", "--runs", "0"], "--runs: 0: expected a number from 1"),
        (["benchmarks.models", "--only", "nosuch"], "error: --only nosuch: no name has this in it"),
        (["benchmarks.overhead", "data=voc", "data.root=/nowhere"], "error: no data set at data.root=/nowhere"),
        (["benchmarks.overhead", "trainer.precision=16"], "error: trainer.precision=16: both sides run on a CPU"),
        (["benchmarks.gpu", "--device", "cpu", "--root", "/nowhere"], "error: no data set at data.root=/nowhere"),
    ],
)
def test_mistakes_are_one_line(words, message, tmp_path):
    done = bench(tmp_path, *words)
    assert done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
