"""Workers of a loader end quietly when the training process is killed."""

import subprocess
import sys

ERRORS = """
import sys
from segment.data.workers import delay_signals
delay_signals(0)
for error in (ConnectionResetError(104, "lost"), EOFError("lost"), ValueError("shown")):
    sys.excepthook(type(error), error, None)
"""


def test_a_lost_connection_to_a_killed_process_is_not_shown():
    done = subprocess.run([sys.executable, "-c", ERRORS], capture_output=True, text=True, check=True)
    assert done.stderr == "ValueError: shown\n"
