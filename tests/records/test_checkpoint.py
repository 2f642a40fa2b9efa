"""Checkpoints from strangers: no code runs, nothing but nets and data is built, nothing is downloaded."""

import os
import pickle

import pytest
import torch

import segment
from segment.errors import SegmentError
from segment.records.checkpoint import data_config, load_checkpoint, load_net
from tests.prediction.conftest import varied_checkpoint


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return varied_checkpoint(tmp_path_factory.mktemp("net"))


@pytest.fixture
def checkpoint(content, tmp_path):
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


class Evil:
    def __reduce__(self):
        return os.system, ("touch done",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**content, "epoch": Evil()}, tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps({**content, "state_dict": Evil()}))
    torch.save({**content, "epoch": Evil()}, tmp_path / "c.ckpt", _use_new_zipfile_serialization=False)
    for name in ("a.ckpt", "b.ckpt", "c.ckpt"):
        with pytest.raises(SegmentError, match=rf"{name} is not a file of weights"):
            segment.load(tmp_path / name)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "os.system", "command": "touch done"}, "names 'os.system'"),
        ({"encoder": {"_target_": "os.system", "command": "touch done"}}, "names 'os.system'"),
        ({"decoder": {"_target_": "os.system", "_partial_": True}}, "names 'os.system'"),
        ({"encoder": {"stages": [{"deep": [{"_target_": "subprocess.run", "_args_": ["x"]}]}]}}, "refused"),
        ({"_target_": ["os.system"]}, "refused, it names"),
        ({"_target_": {"_target_": "os.system"}}, "refused, it names"),
        ({"_target_": "segment.models.net.torch.hub.load"}, "names 'segment.models.net.torch.hub.load'"),
        ({"_target_": "segment.models.net.Tensor"}, "names 'segment.models.net.Tensor'"),
        ({"_target_": "segment.models.weights.load_file"}, "refused, it names"),
        ({"_target_": "segment.data.downloads.fetch.Release"}, "expected a public class of segment.models"),
        ({"_target_": ""}, "refused, it names"),
        ({"normalization": "${oc.env:HOME}"}, r"it has the interpolation '\${oc.env:HOME}'"),
        ({"${oc.env:HOME}": 1}, "it has the interpolation"),
        ({"frozen_stages": torch.zeros(3)}, "holds a Tensor"),
        ({"encoder": None}, "its net cannot be built"),
        (
            {"encoder": {"_target_": "segment.models.UNetEncoder", "width": "x"}},
            "encoder.width=x: expected a whole number",
        ),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_configuration_builds_nets_and_nothing_else(content, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    metadata = content["segment"]
    torch.save({**content, "segment": {**metadata, "model": {**metadata["model"], **change}}}, tmp_path / "evil.ckpt")
    with pytest.raises(SegmentError, match=message):
        segment.load("evil.ckpt")
    assert not (tmp_path / "done").exists()


def test_a_stranger_s_net_downloads_nothing(content, monkeypatch):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    metadata = content["segment"]
    part = {"_target_": "segment.models.MobileNetV2Encoder"}
    for deep in (part, {**part, "weights": "imagenet"}, [{"x": {**part, "weights": "imagenet"}}]):
        model = {**metadata["model"], "decoder": {**metadata["model"]["decoder"], "x": deep}}
        with pytest.raises(SegmentError, match="unexpected keyword argument 'x'"):
            load_net({**content, "segment": {**metadata, "model": model}}, "a.ckpt")


def test_other_damage_to_a_checkpoint(content, tmp_path):
    metadata = content["segment"]
    for change in (
        {"segment": {**metadata, "model": "os.system"}},
        {"segment": {**metadata, "classes": {"names": ["a"], "palette": [[0, 0, 300]]}}},
        {"segment": {**metadata, "classes": {"names": ["\x1b[2J"], "palette": [[0, 0, 0]]}}},
        {"segment": {**metadata, "classes": {"names": ["a"] * 6, "palette": [[0, 0, 0]] * 6}}},
        {"segment": {**metadata, "classes": 7}},
        {"segment": 7},
        {"segment": {**metadata, "model": {}}},
        {"segment": {**metadata, "model": {"_target_": "segment.models.FCNDecoder", "channels": {32: 8}}}},
        {"state_dict": [1]},
        {"state_dict": {"net.x": 1, 3: 4}},
    ):
        torch.save({**content, **change}, tmp_path / "damaged.ckpt")
        with pytest.raises(SegmentError):
            segment.load(tmp_path / "damaged.ckpt")


def test_a_stranger_s_data_configuration_downloads_nothing(content, checkpoint):
    assert data_config(load_checkpoint(checkpoint)) == content["segment"]["data"]
    evil = {"_target_": "segment.data.VOCDataModule", "root": "x", "download": True, "url": "http://evil"}
    found = data_config({"segment": {"data": evil}})
    assert (found["download"], found["url"]) == (False, None)
    with pytest.raises(SegmentError, match="refused"):
        data_config({"segment": {"data": {**evil, "root": "${oc.env:HOME}"}}})
    with pytest.raises(SegmentError, match="refused"):
        data_config({"segment": {"data": {**evil, "_target_": "segment.data.downloads.fetch.FileLock"}}})
