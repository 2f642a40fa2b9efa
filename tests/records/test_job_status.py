"""job.json records how a job of a sweep ended."""

import pytest

from segment.errors import SegmentError
from segment.records.job_status import JobRecord, utc_now


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [
        (0, "ignored", ("done", 0, None, "", "")),
        (1, "no mask", ("failed", 1, None, "no mask", "no mask")),
        (3, "", ("failed", 3, None, "", "exit code 3")),
        (-9, "", ("failed", None, "SIGKILL", "", "SIGKILL")),
        (-15, "stopped", ("failed", None, "SIGTERM", "stopped", "SIGTERM: stopped")),
    ],
)
def test_the_end_of_a_job(tmp_path, code, error, expected):
    record, path = JobRecord(["seed=0"]), tmp_path / "job.json"
    assert (record.state, record.reason) == ("running", "")
    record.end(code, error)
    assert (record.state, record.exit_code, record.signal, record.error, record.reason) == expected
    assert record.started <= record.ended <= utc_now()
    record.write(path)
    assert JobRecord.read(path) == record


def test_a_missing_file_is_no_job_and_a_damaged_one_is_an_error(tmp_path):
    path = tmp_path / "job.json"
    assert JobRecord.read(path) is None
    for content in (
        "{",
        "{}",
        '{"overrides": [], "unknown": 1}',
        "[]",
        "\xff",
        "[" * 200_000,
        '{"overrides": 3}',
        '{"overrides": [], "started": 3}',
        '{"overrides": [], "state": "x"}',
        " " * 3_000_000,
    ):
        path.write_text(content, encoding="latin-1")
        with pytest.raises(SegmentError, match=r"^cannot read .*job.json: "):
            JobRecord.read(path)
