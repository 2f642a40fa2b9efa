"""CONTRIBUTING.md's package of own parts: copied under another name, and used command by command."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_parts"
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COPY, *COMMANDS = [block for language, block in BLOCKS if language == "bash"]
UNTRUSTED = [
    "segment.train resume=runs/first",
    "segment.train repeat=runs/first hydra.run.dir=runs/third",
    "segment.evaluate checkpoint=runs/first",
    "segment.predict checkpoint=runs/first input=leaves/photos output=other",
    "segment.export checkpoint=runs/first output=other.onnx",
]


def test_the_page_shows_the_files_as_they_are():
    files = [block.partition("\n") for language, block in BLOCKS if language != "bash"]
    for name, _, content in files:
        assert (EXAMPLE / name.removeprefix("# ")).read_text("utf-8") == content
    shown = {name.removeprefix("# ") for name, _, _ in files}
    there = {path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*.*") if "__pycache__" not in path.parts}
    assert there - shown == {"README.md", "make_leaves.py", "mylab/__init__.py"}


def copy_as(folder: Path, name: str) -> Path:
    """Copy the example, and give its package another name."""
    assert COPY.startswith("cp -r examples/own_parts ")
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mylab").rename(folder / name)
    for path in (*folder.rglob("*.py"), *folder.rglob("*.yaml")):
        path.write_text(path.read_text("utf-8").replace("mylab", name), "utf-8")
    return folder


def start(commands: str, project: Path, environment: dict[str, str]) -> str:
    """Run commands, of which the page interrupts one with Ctrl-C, and return their output."""
    with subprocess.Popen(
        ["bash", "-ec", commands],
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
            if "epoch 3/20" in line and "--config-dir" in commands:
                os.killpg(process.pid, signal.SIGINT)
                interrupted = True
    assert bool(process.returncode) == interrupted, output
    return output


@pytest.mark.slow
def test_own_parts_with_every_command(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    project = copy_as(tmp_path / "leaves-project", "otherlab")
    outputs = [start(block.replace("mylab", "otherlab"), project, environment) for block in COMMANDS]
    output = "".join(outputs)
    first, second = (json.loads((project / "runs" / name / "metrics.json").read_text()) for name in ("first", "second"))
    assert {**first, "checkpoint": None} == {**second, "checkpoint": None}
    for said in (
        "problems: none",
        "epoch 20/20",
        "resume=runs/first 'trust=[otherlab]' continues",
        "checkpoint=runs/first/checkpoints/best.ckpt 'trust=[otherlab]' input=",
        "net.onnx (",
        "Segmentation(100x80: ",
    ):
        assert said in output
    assert "neither cost nor pictures" not in output
    assert re.search(r"\d+ passed in", outputs[-1])
    for command in UNTRUSTED:
        arguments = [sys.executable, "-m", *command.split()]
        refused = subprocess.run(arguments, cwd=project, env=environment, capture_output=True, text=True)
        assert refused.returncode == 1
        [line] = refused.stderr.splitlines()
        assert "add trust=[otherlab]" in line


TINY = ("data.train_size=4", "data.val_size=2", "data.crop_size=[32,32]", "data.num_workers=0", "data.batch_size=2")


@pytest.fixture
def mylab(monkeypatch):
    """Make the example importable, and forget it afterwards."""
    monkeypatch.syspath_prepend(EXAMPLE)
    yield EXAMPLE / "conf"
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


@pytest.mark.slow
def test_an_own_net_is_trained_and_used_with_trust_alone(main, mylab, tmp_path, capsys):
    own = (
        "model=tiny",
        "loss=leaf_dice",
        "metrics=[leaf_share]",
        "callbacks.best.monitor=val/leaf_share",
        "optimizer=sign",
    )
    folder = main("train", f"--config-dir={mylab}", *TINY, *own, "scheduler=halving", "trainer.max_epochs=1")
    assert "'trust=[mylab]' input=" in capsys.readouterr().out
    assert "val/leaf_share" in (folder / "metrics.csv").read_text()
    use = (f"checkpoint={folder}", f"output={tmp_path / 'net.pt2'}", "format=torch_export")
    with pytest.raises(SystemExit, match=r"refused, it names 'mylab\.TinyNet'.* add trust=\[mylab\]") as refusal:
        main("export", *use)
    assert "\n" not in str(refusal.value)
    main("export", *use, "trust=[mylab]")
    again = main("evaluate", f"checkpoint={folder}", "data.num_workers=0", "trust=[mylab]")
    assert (again / "metrics.json").is_file()


def test_a_class_on_the_command_line(main, mylab, capsys):
    own = ("loss._target_=mylab.DiceLoss", "+loss.smooth=2", "model.encoder._target_=mylab.TinyEncoder")
    decoder = ("model.decoder._target_=mylab.SummedDecoder", "+model.decoder.width=4", "model.encoder.width=4")
    metric = (
        "+metrics.share._target_=mylab.LeafShare",
        "optimizer.algorithm._target_=mylab.SignSGD",
        "scheduler=constant",
    )
    main("train", *TINY, *own, *decoder, *metric, "trainer.fast_dev_run=true")
    assert "fast_dev_run is complete" in capsys.readouterr().out
