"""A logger that cannot start is one line, and is taken out of those that are ended."""

import pytest
from lightning.pytorch.loggers import WandbLogger
from omegaconf import OmegaConf

from segment.errors import SegmentError
from segment.records.folder import RunFolder
from segment.training.loggers import build_loggers
from segment.training.resume import RunStart


def test_settings_that_wandb_refuses_are_one_line(tmp_path, monkeypatch):
    def refuse(self, params):  # as wandb's settings do for WANDB_MODE=nonsense
        raise ValueError("1 validation error\n mode")

    monkeypatch.setattr(WandbLogger, "log_hyperparams", refuse)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "30")
    config = OmegaConf.create(
        {"logger": {"wandb": {"_target_": "lightning.pytorch.loggers.WandbLogger", "name": None}}}
    )
    loggers = []
    with pytest.raises(SegmentError, match=r"^logger=wandb cannot start \(1 validation error mode\): log in with"):
        build_loggers(config, RunStart(RunFolder(tmp_path)), loggers)
    assert len(loggers) == 1


def test_another_logger_that_cannot_start_is_one_line(tmp_path):
    part = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "log_dir": "x"}  # it sets log_dir itself
    loggers = []
    with pytest.raises(SegmentError, match=r"^the TensorBoardLogger cannot start: .*multiple values .*'log_dir'$"):
        build_loggers(OmegaConf.create({"logger": {"tensorboard": part}}), RunStart(RunFolder(tmp_path)), loggers)
    assert len(loggers) == 1
