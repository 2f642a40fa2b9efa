"""Workers of a loader end quietly with the training process."""

import subprocess
import sys

ERRORS = """
import sys
from segment.data.workers import delay_signals
delay_signals(0)
for error in (ConnectionResetError(104, "lost"), EOFError("lost"), ValueError("shown")):
    sys.excepthook(type(error), error, None)
"""

REFUSED = """
import os, signal, sys
from segment.data import ShapesDataModule
signal.alarm = lambda seconds: (os.write(2, b"the workers delay the end"), os._exit(1))
data = ShapesDataModule(train_size=4, batch_size=2, crop_size=[32, 32], num_workers=1)
data.setup("fit")
batches = iter(data.train_dataloader())
next(batches)
sys.exit("error: refused")
"""
"""The worker waits for more work when the program ends."""


def test_an_error_while_workers_run_is_the_last_line():
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: refused\n")


def test_a_lost_connection_to_a_killed_process_is_not_shown():
    done = subprocess.run([sys.executable, "-c", ERRORS], capture_output=True, text=True, check=True)
    assert done.stderr == "ValueError: shown\n"
