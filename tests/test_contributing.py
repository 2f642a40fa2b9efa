"""CONTRIBUTING.md's package of own parts: copied under another name, and used command by command."""

import csv
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

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


def stop_with_ctrl_c(command: str) -> str:
    """Run a training as a shell does, interrupt it after its second epoch, and return its output."""
    with subprocess.Popen(
        ["bash", "-ec", command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        output = ""
        for line in process.stdout:
            output += line
            if "epoch 2/" in line:
                os.killpg(process.pid, signal.SIGINT)
    assert process.returncode, output
    return output


def run_here(line: str, patch: pytest.MonkeyPatch) -> None:
    """Run a line ``python ...`` of the page in this process: the imports of a new one take ten seconds."""
    python, *arguments = shlex.split(line)
    assert python == "python"
    GlobalHydra.instance().clear()
    if arguments[0] == "-m":
        patch.setattr(sys, "argv", arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__")
    elif arguments[0] == "-c":
        exec(arguments[1], {})
    else:
        runpy.run_path(arguments[0], run_name="__main__")


def shortened(block: str) -> str:
    """Return a block with fewer epochs and jobs; a training whose run folder is not used again takes one step."""
    block = block.replace("max_epochs=20", "max_epochs=10").replace("width=8,16", "width=8")
    if "runs/" not in block and "monitor" not in block and " -m --config-dir" not in block:
        block = block.replace("trainer.max_epochs=1", "trainer.fast_dev_run=true")
    return block


@contextmanager
def importable(folder: Path, name: str) -> Iterator[None]:
    """Make a package of a folder importable, and forget it afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.slow
def test_own_parts_with_every_command(tmp_path, monkeypatch, capfd):
    """The interrupted training, the jobs of the sweep and the contract tests have processes of their own."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(copy_as(tmp_path / "leaves-project", "otherlab"))
    with importable(Path.cwd(), "otherlab"):
        for block in COMMANDS:
            block = shortened(block.replace("mylab", "otherlab").replace("\\\n", ""))
            if "runs/first" in block and "--config-dir" in block:
                assert "resume=runs/first 'trust=[otherlab]' continues" in stop_with_ctrl_c(block)
            elif "pytest" in block:
                tests = subprocess.run(shlex.split(block), capture_output=True, text=True)
                assert re.search(r"\d+ passed in", tests.stdout), tests.stdout
            else:
                for line in block.splitlines():
                    run_here(line, monkeypatch)
        output = capfd.readouterr().out
        for command in UNTRUSTED:
            with pytest.raises(SystemExit, match=r"add trust=\[otherlab\]") as refusal:
                run_here(f"python -m {command}", monkeypatch)
            assert "\n" not in str(refusal.value)
    first, second = (json.loads(Path("runs", name, "metrics.json").read_text()) for name in ("first", "second"))
    assert {**first, "checkpoint": None} == {**second, "checkpoint": None}
    for said in (
        "problems: none",
        "epoch 10/10",
        "checkpoint=runs/first/checkpoints/best.ckpt 'trust=[otherlab]' input=",
        "net.onnx (",
        "Segmentation(100x80: ",
    ):
        assert said in output
    assert "neither cost nor pictures" not in output


TINY = ("data.train_size=4", "data.val_size=2", "data.crop_size=[32,32]", "data.num_workers=0", "data.batch_size=2")


@pytest.fixture
def mylab():
    with importable(EXAMPLE, "mylab"):
        yield EXAMPLE / "conf"


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
    (line,) = [row for row in csv.DictReader((folder / "metrics.csv").open()) if row["val/leaf_share"]]
    best = json.loads((folder / "metrics.json").read_text())
    assert best["further_metrics"] == {"leaf_share": pytest.approx(float(line["val/leaf_share"]))}
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
