"""A run that fails ends its processes and loggers, and the user gets one message and an exit code other than 0."""

import contextlib
import errno
import resource
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segment.errors import SegmentError
from segment.records.checkpoint import load_checkpoint
from segment.records.checkpoint_writer import WholeCheckpoints
from segment.records.folder import RunFolder
from segment.training.faults import ending_run, stoppable
from tests.training.runs import TINY


class Recorder:
    """A logger and a strategy's launcher that record how they end."""

    def __init__(self) -> None:
        self.exit_codes: list[int] = []
        self.signals: list[int] = []
        self.experiment = SimpleNamespace(finish=lambda exit_code: self.exit_codes.append(exit_code))
        self.launcher = SimpleNamespace(kill=self.signals.append)

    def trainer(self, is_global_zero: bool = True) -> SimpleNamespace:
        return SimpleNamespace(is_global_zero=is_global_zero, strategy=SimpleNamespace(launcher=self.launcher))


@pytest.fixture
def recorder():
    return Recorder()


def end(recorder: Recorder, error: BaseException | None, is_global_zero: bool = True) -> None:
    with ending_run(RunFolder("run")) as run:
        run.loggers += [recorder, SimpleNamespace(experiment=object())]  # not every logger's experiment has an end
        run.trainer = recorder.trainer(is_global_zero)
        if error is not None:
            raise error


def test_a_complete_run_ends_its_loggers_with_success(recorder):
    end(recorder, None)
    assert (recorder.exit_codes, recorder.signals) == ([0], [])


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EACCES, "denied"), SystemExit(3)])
def test_other_errors_are_unchanged_and_end_the_processes(recorder, error):
    with pytest.raises(type(error)) as raised:
        end(recorder, error)
    assert raised.value is error
    assert (recorder.exit_codes, recorder.signals) == ([1], [signal.SIGKILL])


def test_a_worker_that_dies_ends_the_run_with_one_line_and_the_way_on(recorder):
    error = RuntimeError(
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that\nmemory is full"
    )
    with pytest.raises(
        SegmentError, match=r"^a loader's worker died .*use data.num_workers=0.*start it again$"
    ) as raised:
        end(recorder, error)
    assert "\n" not in str(raised.value)
    assert (recorder.exit_codes, recorder.signals) == ([1], [signal.SIGKILL])
    error = RuntimeError(
        "Caught RuntimeError in DataLoader worker process 1.\nOriginal Traceback:\n  File x\nno memory"
    )
    with pytest.raises(SegmentError, match=r"^a loader's worker died \(DataLoader worker: no memory\): memory"):
        end(recorder, error)


def test_sigterm_after_a_training_says_how_to_continue(capsys):
    with pytest.raises(SIGTERMException) as ended, stoppable(RunFolder("run")):
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert capsys.readouterr().out == "stop requested; nothing was saved yet, so start it again\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_outside_of_training_says_how_to_continue(recorder, capsys):
    with pytest.raises(SystemExit) as ended:
        end(recorder, KeyboardInterrupt())
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing was saved yet, so start it again\n"


@pytest.mark.parametrize(("is_global_zero", "code"), [(True, 143), (False, 0)])
def test_sigterm_is_no_success_on_the_first_process(recorder, is_global_zero, code):
    with pytest.raises(SystemExit) as ended:
        end(recorder, SIGTERMException(), is_global_zero)
    assert ended.value.code == code
    assert recorder.exit_codes == [1]


@pytest.mark.parametrize("code", [0, None])
def test_an_early_exit_without_an_error_code_is_an_error(recorder, code):
    with pytest.raises(SegmentError, match=r"ended this run with sys.exit before it was complete: it has no metrics"):
        end(recorder, SystemExit(code))
    assert recorder.exit_codes == [1]


def test_a_full_disk_is_a_message_that_says_how_to_continue(recorder):
    message = (
        r"^cannot write a/metrics.csv \(No space left\), earlier files are unchanged: make room; nothing was saved yet"
    )
    with pytest.raises(SegmentError, match=message):
        end(recorder, OSError(errno.ENOSPC, "No space left", "a/metrics.csv"))
    with pytest.raises(SegmentError, match=r"^cannot write run \(No space left\)"):
        end(recorder, OSError(errno.ENOSPC, "No space left"))


def test_an_error_before_there_is_a_trainer():
    with pytest.raises(ValueError, match="early"), ending_run(RunFolder("run")):
        raise ValueError("early")


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse files above a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_on_the_disk(main, trained, tmp_path):
    last = RunFolder(trained).last_checkpoint
    before, content = last.read_bytes(), load_checkpoint(last)
    message = r"^error: cannot write .*last.ckpt \(File too large\), .*: make room; nothing was saved yet.*\Z"
    with largest_file(len(before) // 2):
        with pytest.raises(OSError, match="File too large"):
            WholeCheckpoints().save_checkpoint(content, last)
        with pytest.raises(SystemExit, match=message):
            main("train", *TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert last.read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))
