"""When a process of a training dies, the others end, and one of them says which it was."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import subprocess_script

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.training.faults import ending_run
from segment.training.processes import FIRST_PROCESS, ProcessWatch
from tests.training.runs import TINY

GLOO = RuntimeError(
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:53298"
)


def ended(command: str) -> subprocess.Popen:
    process = subprocess.Popen(["sh", "-c", command])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


@pytest.mark.parametrize(
    ("command", "how", "code"),
    [
        ("kill -KILL $$", "was killed by SIGKILL", 1),
        ("exit 3", "ended with exit code 3", 1),
        ("kill -TERM $$", "was stopped by SIGTERM", 143),
        ("exit 130", "was stopped by SIGINT", 130),
    ],
)
def test_the_first_process_says_which_one_died_and_how_to_continue(tmp_path, monkeypatch, command, how, code):
    monkeypatch.chdir(tmp_path)
    watch = ProcessWatch(RunFolder("my run"))
    watch.started = [ended("exit 0"), ended(command)]
    pid = watch.started[1].pid
    expected = f"process 2 of this training (pid {pid}) {how}; nothing was saved yet, so start it again"
    assert watch.dead_process() == (expected, code)
    RunFolder("my run").checkpoints.mkdir(parents=True)
    RunFolder("my run").last_checkpoint.touch()
    assert watch.dead_process()[0].endswith("; 'resume=my run' continues from its last checkpoint")


def test_all_are_alive(tmp_path):
    watch = ProcessWatch(RunFolder(tmp_path))
    watch.started = [ended("exit 0")]
    assert watch.dead_process(wait=0.01) is None


def test_a_broken_connection_is_the_death_of_a_process(tmp_path):
    message = r"^process 1 of this training .* was killed by SIGKILL; nothing was saved"

    def fail():
        subprocess_script._launch_process_observer([ended("kill -KILL $$")])
        raise GLOO

    with pytest.raises(SegmentError, match=message), ending_run(RunFolder(tmp_path)):
        fail()
    assert FIRST_PROCESS not in os.environ


def test_a_broken_connection_to_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("segment.training.faults.OWN_END", 0)
    message = r"^the connection to another process broke \(\[/pytorch.*\); nothing was"
    with pytest.raises(SegmentError, match=message), ending_run(RunFolder(tmp_path)):
        raise GLOO
    monkeypatch.setenv("LOCAL_RANK", "2")  # the first process says it
    with pytest.raises(SystemExit), ending_run(RunFolder(tmp_path)):
        raise GLOO


def test_lightning_lets_us_observe_the_processes_that_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    launcher = subprocess_script._SubprocessScriptLauncher(LightningEnvironment(), num_processes=1, num_nodes=1)
    launched = []
    monkeypatch.setattr(ProcessWatch, "begin", lambda self, started: launched.append(started))
    with ending_run(RunFolder(tmp_path)):
        assert launcher.launch(lambda: "done") == "done"
    assert launched == [[]]


WATCHING = """
import sys, time
from segment.training import processes
processes.OWN_END = 0
processes.watch_first_process()
print("watching", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("rank", "lines"), [("1", 1), ("2", 0)])
def test_a_process_ends_with_the_first_one(tmp_path, rank, lines):
    first = f'{FIRST_PROCESS}="$$ run" LOCAL_RANK={rank}'
    shell = subprocess.Popen(
        ["sh", "-c", f"{first} '{sys.executable}' -c '{WATCHING}' & wait"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout.readline() == "watching\n"
    os.kill(shell.pid, signal.SIGKILL)
    errors = shell.communicate()[1].splitlines()  # ends when the watching process has ended
    assert len(errors) == lines
    for line in errors:
        assert line.startswith(f"error: process 0 of this training (pid {shell.pid}) has died; nothing was saved yet")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_of_a_training(tmp_path, killed):
    overrides = [*TINY, "trainer=ddp_cpu", "trainer.max_epochs=500", "hydra.run.dir=run"]
    with (tmp_path / "log").open("w") as log:
        first = psutil.Popen([sys.executable, "-m", "segment.train", *overrides], cwd=tmp_path, stdout=log, stderr=log)
    while "epoch 2" not in (tmp_path / "log").read_text():
        time.sleep(0.1)
    [second] = first.children()
    [first, second][killed].kill()
    assert first.wait(60) == (1 if killed else -signal.SIGKILL)
    psutil.wait_procs([second], 60)
    errors = (tmp_path / "log").read_text().partition("epoch 2")[2].splitlines()
    assert not any("Traceback" in line for line in errors)
    [said] = (line for line in errors if line.startswith("error"))
    assert said.startswith(f"error: process {killed} of this training (pid ")
    assert said.endswith("resume=run continues from its last checkpoint")
