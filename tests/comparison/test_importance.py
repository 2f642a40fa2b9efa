"""The importance of a search's parameters."""

import numpy as np
import pytest

from segment.comparison.importance import importance
from segment.records.job_status import JobRecord
from tests.comparison.conftest import write_run


def test_importance_is_the_explained_variance_of_a_made_up_search():
    """All combinations of 40 rates and 3 losses, and a parameter without effect."""
    rates, losses, idle = np.tile(np.geomspace(1e-4, 1e-1, 40), 3), np.repeat([0, 1, 2], 40), np.arange(120) % 2
    effects = [0.1 * np.log10(rates), 0.2 * losses]
    scores = np.sum(effects, axis=0)
    found = [importance([str(value) for value in values], scores) for values in (rates, losses, idle)]
    shares = [np.var(effect) / np.var(scores) for effect in effects]
    assert found[0] == pytest.approx(shares[0] * 15 / 16, abs=0.03)  # a group of a quarter hides a 16th
    assert found[1] == pytest.approx(shares[1], abs=0.02)
    assert found[2] == 0


@pytest.mark.parametrize(
    ("values", "scores", "expected"),
    [
        (["a", "b", "c"], [0.1, 0.2, 0.3], None),
        (["a", "a", "b", "b"], [0.5, 0.5, 0.5, 0.5], None),
        (["a", "a", "b", "b", "b"], [0.1, 0.1, 0.1, 0.1, 0.1 + 1e-12], None),
        (["a", "a", "b", "b"], [0.1, 0.3, 0.1, 0.3], 0.0),
        (["1", "10", "1.0", "1e1"], [0.1, 0.3, 0.1, 0.3], 1.0),
        (["nan", "nan", "inf", "-1e999", "x"], [0.1, 0.1, 0.3, 0.2, 0.2], 1.0),
        (["nan", "nan", "inf", "1e999", "1", "2", "3"], [0.1, 0.1, 0.3, 0.3, 0.2, 0.2, 0.2], 0.75),
    ],
)
def test_importance_of_few_or_odd_values(values, scores, expected):
    assert importance(values, np.array(scores)) == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_of_settings_with_several_seeds_the_best_mean_counts(tmp_path, report):
    for net, scores in (("unet", (0.9, 0.1, 0.2)), ("fcn8s", (0.5, 0.6, 0.7))):
        for seed, score in enumerate(scores):
            folder = write_run(tmp_path / "sweep" / f"{net}{seed}", {"model": net, "seed": seed}, mIoU=score)
            JobRecord([f"model={net}", f"seed={seed}"], "done").write(folder.job_status)
    text, _ = report(tmp_path)
    assert "best of sweep, as the mean of 3 runs: python -m segment.train model=fcn8s seed=0" in text
    assert "│ seed" not in text


def test_a_report_has_the_importance_and_the_best_line(tmp_path, report):
    for i in range(8):
        rate, loss = 0.001 * i, ["cross_entropy", "dice"][i % 2]
        config = {"optimizer.lr": rate, "loss": loss}
        folder = write_run(tmp_path / "sweep" / str(i), config, mIoU=0.4 + 0.1 * (i % 2))
        overrides = [f"optimizer.lr={rate}", f"loss={loss}", "sweep=search", f"data.fold={i % 2}"]
        JobRecord(overrides, "done").write(folder.job_status)
    text, _ = report(tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("│ loss ")]
    assert [part.strip() for part in lines[0].strip("│ ").split("│")] == ["loss", "100.0", "dice"]
    line = "best of sweep: python -m segment.train optimizer.lr=0.001 loss=dice sweep=search data.fold=1 hydra.mode=RUN"
    assert line in text
    assert "│ data.fold" not in text  # a fold is no choice
