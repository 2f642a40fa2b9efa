"""The learning-rate range test: all groups alike, the steepest fall, and what it refuses."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from segment.comparison.find import find_runs
from segment.display.plots import range_test_curve
from segment.errors import SegmentError
from segment.models import FCNDecoder, SegmentationNet, UNetEncoder
from segment.records.folder import RunFolder
from segment.training import range_test
from segment.training.optim import optimizer_with_groups
from segment.training.range_test import STEPS, LossOfSteps, check_range_test, factor, rising_rates, steepest
from segment.training.resume import RunStart
from tests.conftest import SMALL


def test_all_groups_keep_their_ratios():
    net = SegmentationNet(UNetEncoder(4, 2, 3), FCNDecoder, 2)
    optimizer = optimizer_with_groups(net, partial(torch.optim.SGD), 0.1, 0.0, encoder_factor=0.25, bias_factor=2.0)
    configured = [group["lr"] for group in optimizer.param_groups]
    schedule, found = rising_rates(optimizer), []
    for _ in range(STEPS):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert len({*configured}) == 4
    for step in (0, 40, STEPS - 1):
        assert found[step] == pytest.approx([rate * factor(step) for rate in configured])
    assert (factor(0), factor(STEPS - 1)) == pytest.approx((1e-3, 1e3))


def test_the_loss_of_a_step_is_that_of_its_batches_and_processes():
    recorder, trainer = LossOfSteps(), SimpleNamespace(global_step=0, should_stop=False, accumulate_grad_batches=2)
    trainer.strategy = SimpleNamespace(reduce=lambda loss, reduce_op: (loss + 1) / 2)  # another process has 1
    # The third step has one batch, as the last one of an epoch of five.
    for batch, (step, loss) in enumerate([(0, 0.4), (1, 0.2), (1, 0.5), (2, 0.5), (3, 0.5), (3, 5.0), (4, 5.0)]):
        assert not trainer.should_stop
        trainer.global_step = step
        recorder.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, None, batch)
    assert recorder.losses == pytest.approx([1.3, 1.5, 1.5, 6.0])
    assert trainer.should_stop


def test_the_steepest_fall_of_a_noisy_loss():
    steps = torch.arange(STEPS)
    losses = 2 - 1.5 * torch.sigmoid((steps - 50) / 4) + 3 * torch.relu(steps - 85.0) ** 2
    losses += 0.05 * torch.randn(STEPS, generator=torch.Generator().manual_seed(0))
    step, smooth = steepest(losses.tolist())
    assert abs(step - 50) <= 3
    assert len(smooth) == STEPS
    assert steepest([1.0 + i for i in range(STEPS)])[0] is None


CONFIG = {"resume": None, "trainer": {"fast_dev_run": False}, "optimizer": {"lr": 1e-3}}


@pytest.mark.parametrize(
    ("changes", "file", "message"),
    [
        ({"resume": "auto"}, None, "tune.lr=true: it trains nothing that could be resumed"),
        ({"trainer": {"fast_dev_run": True}}, None, "fast_dev_run=true is too short"),
        ({"optimizer": {"lr": 0}}, None, "tune.lr=true multiplies optimizer.lr=0: expected a number above 0"),
        ({"optimizer": {"rate": 1}}, None, "multiplies optimizer.lr=null"),
        ({}, "job.json", "a job of a sweep has to have metrics"),
        ({}, "metrics.json", "has a run: choose another hydra.run.dir"),
    ],
)
def test_what_is_refused(tmp_path, changes, file, message):
    if file:
        (tmp_path / file).write_text("{}")
    with pytest.raises(SegmentError, match=message):
        check_range_test(OmegaConf.create(CONFIG | changes), RunStart(RunFolder(tmp_path)))


def test_a_loss_that_never_falls_is_said_in_one_line(tmp_path):
    with pytest.raises(SegmentError, match=r"does not fall from a rate of 0.001 on, see .*: lower optimizer.lr"):
        range_test.report_range_test([1e-3] * STEPS, [1.0 + i for i in range(30)], RunFolder(tmp_path))
    assert (tmp_path / "learning_rate.png").is_file()
    with pytest.raises(SegmentError, match="no step was trained"):
        range_test.report_range_test([1e-3], [], RunFolder(tmp_path))


def test_losses_of_zero_can_be_plotted():
    assert range_test_curve([0.1, 0.2], [0.0, 0.0], [], None).axes


def test_a_test_trains_nothing(main, monkeypatch, capfd):
    monkeypatch.setattr(range_test, "STEPS", 24)
    tiny = ("data.train_size=8", "data.val_size=2", "data.crop_size=[32,32]", "trainer.enable_progress_bar=false")
    folder = main("train", *SMALL, *tiny, "tune.lr=true", "scheduler=polynomial", "trainer.max_epochs=1")
    last = capfd.readouterr().out.strip().splitlines()[-1]
    assert 4e-6 <= float(last.removeprefix("optimizer.lr=")) <= 4
    written = {path.name for path in Path(folder).iterdir()}
    assert "learning_rate.png" in written
    assert not written & {"checkpoints", "metrics.json", "metrics.csv", "provenance.json", "predictions"}
    assert find_runs([folder]) == ([], [], [])
