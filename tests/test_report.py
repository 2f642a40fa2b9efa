"""segment.report as a user starts it: text on the terminal, files in the output folder, and errors."""

import json
import re
import subprocess
import sys

import pytest

from segment.report import main as report
from tests.comparison.conftest import random_pixels, read_report, write_job, write_run, write_strides
from tests.conftest import SMALL


def fails(capsys, *arguments) -> str:
    """Return the exit code or message of a report that fails, and check that no traceback is printed."""
    with pytest.raises(SystemExit) as end:
        report(list(map(str, arguments)))
    assert "Traceback" not in capsys.readouterr().err
    return str(end.value.code)


def test_the_same_table_on_the_terminal_and_in_three_files(tmp_path, capsys):
    write_strides(tmp_path / "runs")
    report([str(tmp_path / "runs"), "--output", str(tmp_path), "--no-cost", "--paper"])
    text = capsys.readouterr().out
    rows = [row for row in read_report(tmp_path) if not row["source"]]
    for row in rows:
        assert f"{100 * float(row['mIoU']):.1f} ± {100 * float(row['mIoU_deviation']):.1f}" in text
    assert "FCN-8s minus FCN-32s" in text
    assert "FCN-8s heavy at once" in text
    assert "Tiramisu" not in text
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[2].startswith("| net | seeds | mean IoU | 95 % |")
    source = (tmp_path / "report.tex").read_text()
    assert source.count(r"\toprule") == source.count(r"\bottomrule") == 3
    assert not list(tmp_path.glob("*.part"))


def test_runs_without_metrics_are_listed_below(tmp_path, capsys):
    write_strides(tmp_path)
    write_job(tmp_path / "failed", "failed", signal="SIGKILL")
    (tmp_path / "2" / "per_image.npz").write_bytes(b"PK\x03\x04 and no more")
    report([str(tmp_path), "--no-cost", "--output", str(tmp_path), "--images", "0"])
    text = capsys.readouterr().out
    assert f"without metrics:\n  {tmp_path}/failed: failed (seed=7): SIGKILL\n" in text
    assert f"{tmp_path}/2: no intervals, per_image.npz is damaged" in text
    assert f"- {tmp_path}/failed: failed (seed=7): SIGKILL\n" in (tmp_path / "report.md").read_text()


def test_a_report_that_is_watched_is_made_again_when_a_run_has_ended(tmp_path, capsys, monkeypatch):
    """It begins before any run has ended, and does not measure costs beside a training."""
    write_job(tmp_path / "runs" / "first", "running")
    looks = iter(range(4))

    def wait(_):
        match next(looks):
            case 1:
                write_strides(tmp_path / "runs")
            case 3:
                raise KeyboardInterrupt

    monkeypatch.setattr("segment.report.time.sleep", wait)
    with pytest.raises(KeyboardInterrupt):
        report([str(tmp_path / "runs"), "--watch"])
    text = capsys.readouterr().out
    assert text.count("no run with metrics below") == 1
    assert text.count("FCN-8s minus FCN-32s") == 1
    assert "neither cost" not in text


EVIL = "[/red]\x1b[31m:cat:\n|$x$\\input{x}<script>"


def test_damaged_and_hostile_records(tmp_path, capsys, monkeypatch):
    """Each damaged record is one line, names are text in all formats, and no resolver is called."""
    monkeypatch.setenv("SECRET", "hunter2")
    write_strides(tmp_path / "runs")
    files = {"job": "", "provenance": "[" * 200_000, "metrics": '{"mIoU": NaN, "per_class_IoU": {}}'}
    for name, text in files.items():
        (write_run(tmp_path / "runs" / f"damaged_{name}", {}, mIoU=0.5).path / f"{name}.json").write_text(text)
    evil = write_run(tmp_path / "runs" / "a\n[b]", {"loss.x": EVIL}, mIoU=0.5, data=EVIL, per_class_IoU={EVIL: 0.5})
    (evil.hydra / "hydra.yaml").write_text("hydra: {runtime: {choices: {model: [1], loss: '${oc.env:SECRET}'}}}")
    write_run(tmp_path / "runs" / "evil2", {"loss.x": [1]}, mIoU=0.5, data=EVIL, per_class_IoU={EVIL: 0.5})
    write_run(tmp_path / "runs" / "long", {"model.weights": f"/{'a' * 300}/checkpoints/x.ckpt"}, mIoU=0.5)
    write_run(tmp_path / "runs" / "null", {}, mIoU=0.5, checkpoint="a\0b")
    report([str(tmp_path / "runs"), "--no-cost", "--output", str(tmp_path / "out")])
    text = capsys.readouterr().out
    listed = text[text.index("without metrics:") :].splitlines()[1:-1]
    assert [line.partition(":")[0].rpartition("/")[2] for line in listed] == [
        "damaged_job", "damaged_metrics", "damaged_provenance", "long", "null",
    ]  # fmt: skip
    markdown, tex, table = ((tmp_path / "out" / f"report.{kind}").read_text() for kind in ("md", "tex", "csv"))
    assert "hunter2" not in text + markdown + tex + table
    assert "\x1b" not in text + markdown + tex
    assert "<script>" not in markdown
    assert all(line.startswith(("%", "\\")) or "&" in line for line in tex.splitlines() if line)


def test_each_data_set_has_a_table(tmp_path, capsys):
    write_strides(tmp_path)
    write_run(tmp_path / "other", {}, random_pixels(40, 0.7), data="camvid")
    report([str(tmp_path), "--no-cost", "--paper"])
    text = capsys.readouterr().out
    assert text.index("voc, val split") < text.index("FCN-16s") < text.index("camvid, val") < text.index("FC-DenseNet")


def test_nothing_to_report(tmp_path, capsys):
    assert "no run with metrics below" in fails(capsys, tmp_path)
    assert "is no folder" in fails(capsys, tmp_path / "none")
    write_job(tmp_path / "a", "failed", exit_code=1)
    assert "no run with metrics below" in fails(capsys, tmp_path)
    (tmp_path / "file").touch()
    assert "expected a folder" in fails(capsys, tmp_path, "--output", tmp_path / "file")
    assert fails(capsys, tmp_path, "--size", "12") == "2"
    assert fails(capsys, tmp_path, "--images", "-1") == "2"


def test_help_does_not_wait_for_torch():
    code = "import sys, segment.report; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_trained_and_evaluated_nets(main, tmp_path, capsys):
    words = [*SMALL, "data.train_size=4", "data.val_size=5", "data.crop_size=[64,64]", "trainer.max_epochs=1"]
    for i, skips in enumerate(("[]", "[16,8]")):
        main("train", *words, f"model.decoder.skip_strides={skips}", f"hydra.run.dir={tmp_path}/runs/{i}")
    checkpoint = f"checkpoint={tmp_path}/runs/1/checkpoints/best.ckpt"
    capsys.readouterr()
    for i, words in enumerate(((), ("split=test", "data.test_size=3"), ("inference.flip=true",))):
        main("evaluate", checkpoint, *words, f"hydra.run.dir={tmp_path}/runs/evaluation{i}")
    evaluated = capsys.readouterr().out
    report([str(tmp_path / "runs"), "--no-cost", "--output", str(tmp_path)])
    text, rows = capsys.readouterr().out, read_report(tmp_path)
    usual, flipped = (f"single scale, whole images{end}" for end in ("", ", flipped"))
    assert [row["row"] for row in rows] == [f"FCN-32s, {usual}", f"FCN-8s, {usual}", f"FCN-8s, {flipped}", "FCN-8s"]
    assert [row["split"] for row in rows] == ["val", "val", "val", "test"]
    assert "evaluation0 repeats the evaluation of another run" in text
    assert "the measurements differ in protocol\n" in text
    assert "not compared, fewer than two images" not in text
    assert {path.name for path in tmp_path.glob("pictures*")} == {
        "pictures_shapes_val_1.png",
        "pictures_shapes_test_2.png",
    }
    # metrics.json, the table of segment.evaluate and the report have the same intervals.
    for row, name in zip(rows, ("0", "1", "evaluation2", "evaluation1"), strict=True):
        interval = json.loads((tmp_path / "runs" / name / "metrics.json").read_text())["mIoU_interval"]
        assert [float(row["mIoU_low"]), float(row["mIoU_high"])] == pytest.approx(interval, abs=1e-12)
        low, high = (f"{100 * end:.1f}" for end in interval)
        assert f"[{low}, {high}]" in text
        if name.startswith("evaluation"):
            assert re.search(f"{re.escape(low)} to {re.escape(high)} \\(95 %\\)", evaluated)
