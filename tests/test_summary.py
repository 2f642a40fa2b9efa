"""The command ``segment.summary``."""

import sys
from pathlib import Path

import pytest

from segment.cli.config import group_options, load_config
from segment.errors import SegmentError
from segment.summary import encoder_name, summary
from tests.conftest import Run

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_parts"


@pytest.mark.slow
def test_the_entry_point(run: Run, main, capsys):
    main("summary", "models=[fcn_small,fcn8s_paper]", "encoders=[unet_small,vgg16_fc_paper]", "size=[64,64]")
    table = capsys.readouterr().out
    assert "134.49" in table
    assert "fcn_small with vgg16_fc_paper: this decoder needs an encoder with layout 'aligned', got 'FCN" in table
    wrong = run("summary", "models=[fcn9]", check=False)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: model=fcn9: there is no such option: did you mean fcn8s?\n"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size=[16,64]", r"size=\[16, 64\]: expected \[HEIGHT,WIDTH\], each from 32"),
        ("size=[64]", r"expected \[HEIGHT,WIDTH\]"),
        ("num_classes=0", "num_classes=0: expected a number from 1"),
        ("num_classes=x", "num_classes=x: expected a whole number"),
        ("models=7", "models=7: expected a list"),
        ("largest_batch=true", "largest_batch=true needs a GPU of NVIDIA"),
    ],
)
def test_wrong_values(override, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SegmentError, match=message):
        summary(load_config([override], "summary"))


def test_nets_without_an_encoder_to_choose(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["summary", f"--config-dir={EXAMPLE / 'conf'}"])
    monkeypatch.syspath_prepend(EXAMPLE)
    summary(load_config(["models=[tiny,fcn_small]", "encoders=[unet_small]", "size=[32,32]"], "summary"))
    assert "tiny with unet_small: model/encoder=: the chosen model has no choice of encoder" in capsys.readouterr().out
    summary(load_config(["models=[tiny]", "size=[32,32]"], "summary"))
    assert capsys.readouterr().out.split("tiny")[1].split()[1] == "-"


@pytest.mark.parametrize(
    ("encoder", "name"),
    [("resnet34", "resnet34"), ({"_target_": "segment.models.UNetEncoder"}, "UNetEncoder"), (None, "-"), (3, "3")],
)
def test_the_name_of_an_encoder(encoder, name):
    assert encoder_name(encoder) == name


def test_the_only_nets_error_is_raised():
    overrides = ["models=[fcn8s_paper]", "encoders=[unet_small]", "size=[64,64]"]
    with pytest.raises(SegmentError, match=r"no feature at|needs an encoder with layout 'FCN paper'"):
        summary(load_config(overrides, "summary"))


def test_own_models_of_a_folder_are_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults:\n  - fcn_small\n")
    monkeypatch.setattr(
        "segment.summary.group_options",
        lambda *given: [one for one in group_options(*given) if one in {"fcn_small", "mine"}],
    )
    monkeypatch.setattr(sys, "argv", ["summary", "--config-dir", str(tmp_path), "size=[64,64]"])
    summary(load_config(["size=[64,64]"], "summary"))
    assert {"fcn_small", "mine"} <= {line.split()[1] for line in capsys.readouterr().out.splitlines() if "│" in line}
    summary(load_config(["size=[64,64]", "models=[mine]"], "summary"))
    assert "mine " in capsys.readouterr().out
