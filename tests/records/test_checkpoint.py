"""Checkpoints hold plain data, and an untrusted checkpoint is safe.

No code of the file runs, only nets and data sets are built from it, and nothing is downloaded.
"""

import os
import pickle

import pytest
import torch

import segment
from segment.data.datasets.shapes import SHAPES
from segment.data.workers import cores
from segment.errors import SegmentError
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import (
    data_config,
    load_checkpoint,
    load_net,
    make_metadata,
    read_classes,
    read_step,
)
from segment.records.checkpoint_writer import WholeCheckpoints


def with_model(content, **changes):
    """Return a checkpoint whose model configuration is changed."""
    metadata = content[METADATA]
    return {**content, METADATA: {**metadata, "model": {**metadata["model"], **changes}}}


def test_a_net_comes_back_as_it_was_saved(content, checkpoint):
    net = load_net(load_checkpoint(checkpoint), checkpoint)
    assert not net.training
    saved = {key.removeprefix("net."): value for key, value in content["state_dict"].items()}
    assert all(torch.equal(value, saved[key]) for key, value in net.state_dict().items())
    assert read_classes(content) == SHAPES


def test_metadata_is_plain_data():
    metadata = make_metadata({"_target_": "a"}, {"root": "b"}, SHAPES, ("x", "y"))
    assert metadata["images"] == ["x", "y"]
    assert metadata["classes"]["palette"][1] == [*SHAPES.palette[1]]
    assert not any(isinstance(part, tuple) for part in (metadata["classes"]["names"], *metadata["classes"]["palette"]))


def test_a_checkpoint_is_written_whole_or_not_at_all(content, checkpoint):
    before = checkpoint.read_bytes()
    with pytest.raises(AttributeError):  # a local function cannot be pickled
        WholeCheckpoints().save_checkpoint({**content, "x": lambda: None}, checkpoint)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.ckpt"]
    WholeCheckpoints().save_checkpoint({**content, "global_step": 3}, checkpoint)
    assert load_checkpoint(checkpoint)["global_step"] == 3


def test_training_resumes_from_the_step_of_a_full_checkpoint_only(content, checkpoint):
    with pytest.raises(SegmentError, match=r"^resume: .*best.ckpt has weights only; resume from last.ckpt, or"):
        read_step(checkpoint)
    states = {"optimizer_states": [], "lr_schedulers": [], "callbacks": {}, "loops": {}, "folder": "run/checkpoints"}
    torch.save({**content, **states, "global_step": 7}, checkpoint)
    assert read_step(checkpoint) == 7
    for wrong in ({"global_step": "7"}, {"loops": None}, {"folder": ["run"]}):
        torch.save({**content, **states, "global_step": 7, **wrong}, checkpoint)
        with pytest.raises(SegmentError, match="weights only"):
            read_step(checkpoint)


class Evil:
    """An object whose unpickling runs a command."""

    def __reduce__(self):
        return os.system, ("touch done",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**content, "epoch": Evil()}, tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps({**content, "state_dict": Evil()}))
    torch.save({**content, "epoch": Evil()}, tmp_path / "c.ckpt", _use_new_zipfile_serialization=False)
    for name in ("a.ckpt", "b.ckpt", "c.ckpt"):
        with pytest.raises(SegmentError, match=rf"{name}(: refused, it holds a type| is not a file of weights)"):
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
        ({"_target_": "segment.models.convolutional_classifier"}, "expected a public class of segment.models"),
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
        ({"k" * 10**6: 1}, "unexpected keyword argument"),
        ({"normalization": "n" * 10**6}, "its net cannot be built: model.normalization=nnn"),
        ({"normalization": {"mean": [float("nan")] * 3, "std": [1] * 3}}, "normalization.mean=nan: expected a finite"),
        ({"frozen_stages": 10**9}, "this encoder has"),
        ({"encoder": {"_target_": "segment.models.UNetEncoder", "depth": 100_000}}, "builds a net larger"),
        ({"encoder": {"_target_": "segment.models.UNetEncoder", "width": 10**30}}, "its net cannot be built"),
        ({"decoder": {"_target_": "segment.models.FCNDecoder", "skip_strides": [8] * 10**5}}, "more than 10000 values"),
    ],
)
def test_only_nets_are_built_from_a_configuration(content, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    torch.save(with_model(content, **change), tmp_path / "evil.ckpt")
    with pytest.raises(SegmentError, match=message) as error:
        segment.load("evil.ckpt")
    assert len(str(error.value)) <= 300
    assert not (tmp_path / "done").exists()


def test_an_untrusted_net_downloads_nothing(content, monkeypatch):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    part = {"_target_": "segment.models.MobileNetV2Encoder"}
    for nested in (part, {**part, "weights": "imagenet"}, [{"x": {**part, "weights": "imagenet"}}]):
        decoder = {**content[METADATA]["model"]["decoder"], "x": nested}
        with pytest.raises(SegmentError, match="unexpected keyword argument 'x'"):
            load_net(with_model(content, decoder=decoder), "a.ckpt")


def test_a_damaged_checkpoint_is_a_clear_error(content, tmp_path):
    metadata = content[METADATA]
    for change in (
        {METADATA: {**metadata, "model": "os.system"}},
        {METADATA: {**metadata, "classes": {"names": ["a"], "palette": [[0, 0, 300]]}}},
        {METADATA: {**metadata, "classes": {"names": ["\x1b[2J"], "palette": [[0, 0, 0]]}}},
        {METADATA: {**metadata, "classes": {"names": ["a"] * 6, "palette": [[0, 0, 0]] * 6}}},
        {METADATA: {**metadata, "classes": 7}},
        {METADATA: 7},
        {METADATA: {**metadata, "model": {}}},
        {METADATA: {**metadata, "model": {"_target_": "segment.models.FCNDecoder", "channels": {32: 8}}}},
        {"state_dict": [1]},
        {"state_dict": {"net.x": 1, 3: 4}},
    ):
        torch.save({**content, **change}, tmp_path / "damaged.ckpt")
        with pytest.raises(SegmentError):
            segment.load(tmp_path / "damaged.ckpt")


def test_an_untrusted_data_configuration_downloads_nothing(content, checkpoint):
    assert data_config(load_checkpoint(checkpoint)) == content[METADATA]["data"]
    evil = {"_target_": "segment.data.VOCDataModule", "root": "x", "download": True, "url": "http://evil"}
    found = data_config({METADATA: {"data": evil}})
    assert (found["download"], found["url"]) == (False, None)
    assert data_config({METADATA: {"data": {**evil, "augment": [{"_target_": "os.system"}]}}})["augment"] == []
    assert data_config({METADATA: {"data": {**evil, "num_workers": 10**6}}})["num_workers"] == cores()
    for damaged in ({"root": "x"}, {**evil, "_partial_": True}):
        with pytest.raises(SegmentError, match="builds no data module"):
            data_config({METADATA: {"data": damaged}})
    with pytest.raises(SegmentError, match="refused"):
        data_config({METADATA: {"data": {**evil, "root": "${oc.env:HOME}"}}})
    with pytest.raises(SegmentError, match="refused"):
        data_config({"segment": {"data": {**evil, "_target_": "segment.data.downloads.fetch.FileLock"}}})
