"""Exported nets, run by the programs they are exported for."""

import json
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import segment
from segment.cli.build import instantiate
from segment.cli.config import load_config, plain
from segment.data.datasets.shapes import SHAPES
from segment.errors import SegmentError
from segment.export import export
from segment.records.checkpoint import make_metadata

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # both imported and run as a program

SIZES = (
    (1, 3, 96, 128),
    (2, 3, 65, 97),
    (1, 3, 50, 37),
    (1, 3, 200, 131),
    (1, 3, 32, 32),
    (2, 3, 7, 301),
    (1, 3, 1, 1),
)
NETS = {
    "fcn": ("model=fcn_small", "model.encoder.width=4", "model.encoder.depth=3", "model.decoder.skip_strides=[4]"),
    "unet": ("model=unet", "model/encoder=resnet18", "model.normalization=caffe"),
    "segnet": ("model=segnet_small", "model.encoder.width=4"),
    "stretched": ("model=fcn_resnet50", "model/encoder=resnet18"),
}


def checkpoint(folder, *overrides):
    """Write a checkpoint with random scores, so that its net gives several classes."""
    config = load_config([*overrides, "model.encoder.weights=null"])
    torch.manual_seed(0)
    net = instantiate(config.model, num_classes=len(SHAPES))
    for name, parameter in net.named_parameters():
        if ".score." in name:
            torch.nn.init.normal_(parameter)
    metadata = make_metadata(plain(config.model), plain(config.data), SHAPES)
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "segment": metadata}, folder / "best.ckpt")
    return folder / "best.ckpt"


def images():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, size, dtype=torch.uint8, generator=generator) for size in SIZES]


def check_metadata(metadata, net):
    assert metadata["classes"] == list(SHAPES.names)
    assert metadata["palette"] == [list(colour) for colour in SHAPES.palette]
    assert metadata["normalization"] == {**net.normalization, "inside": True}  # as model.normalization takes it


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fcn", "unet", "segnet"])
def test_onnx_gives_the_same_masks_at_any_size(main, tmp_path, kind, capfd):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    path = checkpoint(tmp_path, *NETS[kind])
    main("export", f"checkpoint={path}", f"output={tmp_path}/new/my net.onnx")
    assert "same as the net on images of several sizes" in capfd.readouterr().out
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["my net.onnx"]
    session, net = onnxruntime.InferenceSession(str(tmp_path / "new" / "my net.onnx")), segment.load(path, "cpu").net
    check_metadata({k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}, net)
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.shape, result.shape) == (["batch", 3, "height", "width"], ["batch", "height", "width"])
    for image in images():
        (found,) = session.run(["classes"], {"image": image.numpy()})
        assert found.dtype == np.uint8
        assert len(np.unique(found)) > 1 or min(image.shape[2:]) <= 32  # an untrained SegNet has one
        assert (found != net.predict(image).numpy()).sum() <= 3  # rounding may decide where two classes meet


@pytest.mark.slow
def test_torch_export_gives_the_same_scores_at_any_size(main, tmp_path):
    path, extra = checkpoint(tmp_path, *NETS["stretched"]), {"segment.json": ""}
    main("export", f"checkpoint={path}", f"output={tmp_path}/net.pt2", "format=torch_export", "output_type=scores")
    run, net = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module(), segment.load(path, "cpu").net
    check_metadata(json.loads(extra["segment.json"]), net)
    net.to(memory_format=torch.contiguous_format)  # as the program is: sums in another order differ
    for image in images():
        torch.testing.assert_close(run(image), net(net.normalize(image)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["output=net.x", "format=tflite"], "format=tflite: expected onnx or torch_export or hub"),
        (["output=net.x", "output_type=logits"], "output_type=logits: expected classes or scores"),
        (["output=.", "format=torch_export"], r"output=.: expected a file name that ends in .pt2"),
        (["output=net.onnx", "format=torch_export"], r"output=net.onnx: expected a file name that ends in .pt2"),
        (["output=", "format=torch_export"], "output is empty"),
        (["output=net.pt2", "format=torch_export", "checkpoint=null"], "checkpoint is empty"),
    ],
)
def test_mistakes_are_one_line(main, tmp_path, overrides, message):
    with pytest.raises(SystemExit, match=message):
        main("export", f"checkpoint={checkpoint(tmp_path, *NETS['fcn'])}", *overrides)
    assert not list(tmp_path.glob("net.*"))


def test_a_file_that_is_there_is_kept(main, tmp_path):
    (tmp_path / "net.pt2").write_text("mine")
    with pytest.raises(SystemExit, match=r"output=net.pt2 is there already: name another file, or delete it"):
        main("export", f"checkpoint={tmp_path}", "output=net.pt2", "format=torch_export")
    assert (tmp_path / "net.pt2").read_text() == "mine"


def test_the_paper_s_u_net_has_no_graph(main, tmp_path):
    overrides = ("model=unet_paper", "model.encoder.width=4")
    with pytest.raises(SystemExit, match="unet_paper cannot be exported: it cuts an image into tiles"):
        main("export", f"checkpoint={checkpoint(tmp_path, *overrides)}", "output=net.pt2", "format=torch_export")


def test_a_shared_folder_is_written_once(main, tmp_path, capsys):
    path, folder = checkpoint(tmp_path, *NETS["fcn"]), tmp_path / "my nét"
    main("export", f"checkpoint={path}", "format=hub", f"output={folder}", "license=mit")
    out = capsys.readouterr().out
    assert "note: the card has no metrics" in out
    assert "state" not in out
    image = images()[1]
    net, other = segment.load(path, "cpu").net, segment.load(folder, "cpu").net
    assert torch.equal(net(net.normalize(image)), other(other.normalize(image)))
    assert "license: mit\n" in (folder / "README.md").read_text()
    with pytest.raises(
        SegmentError, match=r"has model.safetensors, config.json, README.md already: name another folder"
    ):
        shared(output=folder)


def shared(**changes):
    """Export with format=hub, without Hydra."""
    keys = {"checkpoint": None, "format": "hub", "output_type": "classes", "push": None, "license": None}
    export(OmegaConf.create({**keys, **{key: str(value) for key, value in changes.items()}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "torch_export", "push": "ada/cells"}, "push=ada/cells is for format=hub, and this is format="),
        ({"format": "onnx", "license": "mit"}, "license=mit is for format=hub"),
        ({"push": "cells"}, "push=cells: expected USER/NAME"),
        ({"output_type": "scores"}, "output_type=scores is for onnx and torch_export"),
        ({"output": "/dev/null"}, "output=/dev/null: expected a folder, and it is a file"),
        ({"output": " "}, "output is empty"),
        ({}, "checkpoint is empty"),
    ],
)
def test_mistakes_with_a_shared_folder_are_one_line(tmp_path, changes, message):
    with pytest.raises(SegmentError, match=message):
        shared(**{"output": tmp_path / "new", **changes})
    assert not (tmp_path / "new").exists()


def test_a_shared_folder_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(SegmentError, match=r"pip install 'segment-lightning\[hub\]'"):
        shared(output=tmp_path / "new")


@pytest.mark.slow
def test_a_net_is_shared_and_evaluated_from_the_hub(main, tmp_path, hub, capsys, monkeypatch):
    small = ["model=fcn_small", "model.encoder.width=4", "data.train_size=4", "data.val_size=3", "data.num_workers=0"]
    run = main("train", *small, "trainer.max_epochs=1", "callbacks=[default]")
    main("export", f"checkpoint={run}", "format=hub", f"output={tmp_path}/shared", "push=ada/cells")
    out = capsys.readouterr().out
    commit = next(reversed(hub.repositories["ada/cells"]))
    assert f"uploaded as hf://ada/cells@{commit}" in out
    card = hub.repositories["ada/cells"][commit]["README.md"].decode()
    assert "python -m segment.train model=fcn_small" in card
    assert "shapes, val split, 3 images" in card
    evaluated = main("evaluate", "checkpoint=hf://ada/cells")
    assert f"hf://ada/cells is hf://ada/cells@{commit}\n" in capsys.readouterr().out
    before, after = (json.loads((folder / "metrics.json").read_text()) for folder in (run, evaluated))
    assert after["checkpoint"] == f"hf://ada/cells@{commit}"
    assert f"checkpoint='hf://ada/cells@{commit}'" in (evaluated / ".hydra" / "overrides.yaml").read_text()
    differ = {"checkpoint", "checkpoint_digest"}
    assert {k: v for k, v in before.items() if k not in differ} == {k: v for k, v in after.items() if k not in differ}
    main("predict", "checkpoint=hf://ada/cells", f"input={run}/predictions", "output=masks")
    assert len([*(tmp_path / "masks").glob("*.png")]) == 3
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SystemExit, match="needs a token of the hub"):
        main("export", f"checkpoint={run}", "format=hub", "output=again", "push=ada/cells")
    assert not (tmp_path / "again").exists()
