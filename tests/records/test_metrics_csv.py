"""metrics.csv holds whole rows after a kill, keeps the rows of a resumed run, and gets new columns."""

import csv

import pytest

from segment.records.metrics_csv import MetricsFile, WholeRowsWriter, read_rows


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_appended_and_a_new_column_rewrites_the_file(tmp_path):
    writer, path = WholeRowsWriter(str(tmp_path), []), tmp_path / "metrics.csv"
    writer.log_metrics({"a": 1.0}, step=1)
    writer.save()
    inode = path.stat().st_ino
    writer.log_metrics({"a": 2.0}, step=2)
    writer.save()
    assert path.stat().st_ino == inode
    writer.log_metrics({"b": 3.0}, step=3)
    writer.save()
    assert [(row["step"], row["a"], row["b"]) for row in rows(path)] == [
        ("1", "1.0", ""),
        ("2", "2.0", ""),
        ("3", "", "3.0"),
    ]
    writer.save()  # nothing new
    assert len(rows(path)) == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_failed_rewrite_leaves_the_rows_before(tmp_path, monkeypatch):
    writer, path = WholeRowsWriter(str(tmp_path), []), tmp_path / "metrics.csv"
    writer.log_metrics({"a": 1.0}, step=1)
    writer.save()
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    writer.log_metrics({"b": 2.0}, step=2)
    with pytest.raises(OSError, match="No space left"):
        writer.save()
    assert [row["a"] for row in rows(path)] == ["1.0"]


def test_a_resumed_run_keeps_the_rows_before_its_step(tmp_path):
    first = MetricsFile(tmp_path, [])
    for step in range(4):
        first.log_metrics({"loss": float(step)}, step)
    first.save()
    earlier = read_rows(tmp_path / "metrics.csv", before=2)
    second = MetricsFile(tmp_path, earlier)
    second.log_metrics({"loss": 9.0}, 2)
    second.save()
    assert [row["loss"] for row in rows(tmp_path / "metrics.csv")] == ["0.0", "1.0", "9.0"]


def test_a_row_that_a_full_disk_cut_off_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    assert read_rows(path) == []
    path.write_text("epoch,step,loss\n0,1,0.5\n0,2")
    assert read_rows(path) == [{"epoch": "0", "step": "1", "loss": "0.5"}]


def test_no_other_file_is_written(tmp_path):
    """Lightning's logger writes hparams.yaml, which may be that of another program of Lightning's in this folder."""
    (tmp_path / "hparams.yaml").write_text("mine")
    logger = MetricsFile(tmp_path, [])
    logger.log_hyperparams({"lr": 1})
    logger.log_metrics({"a": 1.0}, step=1)
    logger.finalize("success")
    assert (tmp_path / "hparams.yaml").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"hparams.yaml", "metrics.csv"}
