"""Jobs of a sweep that are ended for their scores."""

from types import SimpleNamespace

import pytest

from segment.records.folder import RunFolder
from segment.records.job_status import JobRecord
from segment.training.hopeless import StopHopeless, finished_scores

HEADER = "epoch,step,train/loss,val/mIoU\n"


def write_finished(folder, *scores, state="done"):
    folder.mkdir(parents=True)
    JobRecord([], state).write(RunFolder(folder).job_status)
    rows = [f"{epoch},{10 * epoch},,{score}\n{epoch},{10 * epoch},0.5,\n" for epoch, score in enumerate(scores)]
    (folder / "metrics.csv").write_text(HEADER + "".join(rows))


def is_ended(folder, epoch, score, **options):
    trainer = SimpleNamespace(
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        is_global_zero=True,
        default_root_dir=str(folder),
        current_epoch=epoch,
        callback_metrics={"val/mIoU": score},
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
        should_stop=False,
    )
    StopHopeless(**options).on_validation_end(trainer, None)
    return trainer.should_stop


def test_a_job_below_the_median_at_the_same_epoch_is_ended(tmp_path, capsys):
    for number, scores in enumerate([(0.1, 0.6), (0.2, 0.7), (0.3,)]):
        write_finished(tmp_path / f"job{number}", *scores)
    write_finished(tmp_path / "running", 0.9, 0.9, state="running")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "job.json").write_text("{")
    write_finished(tmp_path / "own", state="running")
    assert is_ended(tmp_path / "own", 0, 0.19, min_jobs=3)
    text = "ended: val/mIoU 0.1900 at epoch 1 is below 0.2000, the median of 3 finished jobs\n"
    assert capsys.readouterr().out == text
    assert not is_ended(tmp_path / "own", 0, 0.2, min_jobs=3)
    assert not is_ended(tmp_path / "own", 0, 0.19)
    assert not is_ended(tmp_path / "own", 0, 0.19, min_jobs=3, min_epochs=2)
    assert is_ended(tmp_path / "own", 1, 0.64, min_jobs=2, min_epochs=2)
    assert not is_ended(tmp_path / "own", 1, 0.64, min_jobs=3)  # one job has no such epoch


def test_a_run_that_is_no_job_is_left_alone(tmp_path):
    write_finished(tmp_path / "job", 0.9)
    (tmp_path / "own").mkdir()
    assert not is_ended(tmp_path / "own", 0, 0.1, min_jobs=1)


def test_damaged_logs_are_left_out(tmp_path):
    write_finished(tmp_path / "job", "high")
    assert finished_scores(RunFolder(tmp_path / "job"), "val/mIoU") == {}
    for text in ("x\n1\n", f"{HEADER}0,0,,{'1' * 200_000}\n", f"{HEADER}0,0,,nan\n1,1,,1e999\n"):
        (tmp_path / "job" / "metrics.csv").write_text(text)
        assert finished_scores(RunFolder(tmp_path / "job"), "val/mIoU") == {}


@pytest.mark.slow
def test_a_hopeless_job_is_done_with_its_own_score(main, tmp_path):
    from tests.training.runs import TINY

    sweep = tmp_path / "sweep"
    write_finished(sweep / "good", 1.0, 1.0, 1.0)
    write_finished(sweep / "own", state="running")
    (sweep / "own" / "metrics.csv").unlink()
    overrides = [one for one in TINY if not one.startswith("trainer.max_epochs")]
    more = ["trainer.max_epochs=3", "callbacks=[default,stop_hopeless]", "callbacks.stop_hopeless.min_jobs=1"]
    main("train", *overrides, *more, f"hydra.run.dir={sweep / 'own'}")
    assert (sweep / "own" / "metrics.json").is_file()
    assert {*finished_scores(RunFolder(sweep / "own"), "val/mIoU")} == set()
    JobRecord([], "done").write(RunFolder(sweep / "own").job_status)
    assert {*finished_scores(RunFolder(sweep / "own"), "val/mIoU")} == {0}
