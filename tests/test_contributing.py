"""CONTRIBUTING.md's package of own parts, built and trained word for word in another folder."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


def write_or_run(language: str, block: str, project: Path, environment: dict[str, str]) -> str:
    """Write the file that a block holds, or run its commands; return their output."""
    if language != "bash":
        name, _, content = block.partition("\n")
        (project / name.removeprefix("# ")).write_text(content)
        return ""
    command = ["bash", "-ec", block]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        output, interrupted = "", False
        for line in process.stdout:
            output += line
            if "epoch 3/20" in line and "--config-dir" in block:  # the run that the page interrupts with Ctrl-C
                os.killpg(process.pid, signal.SIGINT)
                interrupted = True
    assert bool(process.returncode) == interrupted, output
    return output


@pytest.mark.slow
def test_own_parts_train_resume_and_repeat(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    project = tmp_path / "leaves-project"
    output = write_or_run(*BLOCKS[0], tmp_path, environment)
    for language, block in BLOCKS[1:]:
        output += write_or_run(language, block, project, environment)
    first, second = (json.loads((project / "runs" / name / "metrics.json").read_text()) for name in ("first", "second"))
    assert {**first, "checkpoint": None} == {**second, "checkpoint": None}
    assert "problems: none" in output
    assert "epoch 20/20" in output
    command = [sys.executable, "-m", "segment.evaluate", "checkpoint=runs/first/checkpoints/best.ckpt"]
    refused = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert refused.stderr.startswith("error: refused: the checkpoint names mylab.")
