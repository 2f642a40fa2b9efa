"""A shared folder gives the net that went in, and a stranger's folder gives one line or a net, whatever is in it."""

import hashlib
import json
import sys

import pytest
import torch
from torch import nn

import segment
from segment.errors import SegmentError
from segment.models.state_dicts import METADATA
from segment.records.checkpoint import data_config, load_checkpoint, load_net
from segment.records.hub import CARD, CONFIG, WEIGHTS
from segment.records.hub_folder import public_metadata, write_hub_folder

safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra hub")


@pytest.fixture
def shared(content, tmp_path):
    """Write the net of ``content`` as a shared folder."""
    folder = tmp_path / "my nét (1)"
    write_hub_folder(folder, load_net(content, "x"), public_metadata(content[METADATA]), "# card\n", None)
    return folder


def rewrite(folder, weights=None, text=None, **changes):
    """Change keys or the whole text of config.json, and the weights together with their hash."""
    config = json.loads((folder / CONFIG).read_text())
    if weights is not None:
        (folder / WEIGHTS).write_bytes(weights)
        changes["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / CONFIG).write_text(json.dumps({**config, **changes}) if text is None else text)


def fault(folder):
    """Return the one line that refuses a folder."""
    with pytest.raises(SegmentError) as error:
        segment.load(folder, "cpu")
    assert len(str(error.value)) <= 450
    assert "\n" not in str(error.value)
    return str(error.value)


def halved(value):
    """Return four-bit numbers of the same shape, for which torch has no arithmetic."""
    return torch.zeros_like(value, dtype=torch.uint8).view(torch.float4_e2m1fn_x2) if value.ndim else value


def test_outputs_are_equal_to_the_bit(content, checkpoint, shared):
    assert sorted(path.name for path in shared.iterdir()) == [CARD, CONFIG, WEIGHTS]
    before, image = segment.load(checkpoint, "cpu"), torch.randint(0, 256, (2, 3, 33, 65), dtype=torch.uint8)
    for path in (shared, shared / WEIGHTS, shared / CONFIG, str(shared)):
        after = segment.load(path, "cpu")
        with torch.no_grad():
            assert torch.equal(before.net(before.net.normalize(image)), after.net(after.net.normalize(image)))
        assert (before.classes, before.net.normalization) == (after.classes, after.net.normalization)
    saved = load_checkpoint(shared / CONFIG)[METADATA]
    assert {key: saved[key] for key in content[METADATA]} == content[METADATA]
    assert data_config({METADATA: saved}) == data_config(content)


def test_shared_and_transposed_tensors_are_copied(content, tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last))
    net[1].weight = net[0].weight
    write_hub_folder(tmp_path / "a", net, public_metadata(content[METADATA]), "", None)
    found = safetensors.load_file(tmp_path / "a" / WEIGHTS)
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())


def test_no_folder_of_this_machine_is_published():
    data = {
        "root": "/home/josé/voc",
        "classes": {0: "/a", 1: "b"},
        "lists": ["~/x.csv", "y/z"],
        "url": "http://me:pw@x",
    }
    model = {"encoder": {"weights": "/mnt/me/vgg.pth"}, "groups": {"pattern": "/(.*)/"}}
    found = public_metadata({"model": model, "data": data, "classes": {}, "images": ("1", "2")})
    assert found["data"] == {"root": "voc", "classes": {"0": "/a", "1": "b"}, "lists": ["x.csv", "y/z"], "url": None}
    assert found["model"] == {"encoder": {"weights": "vgg.pth"}, "groups": {"pattern": "/(.*)/"}}
    assert found["images"] == ["1", "2"]
    with pytest.raises(SegmentError, match="no form in JSON"):
        public_metadata({"model": {"x": float("inf")}, "data": {}, "classes": {}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be a valid dictionary"),
        ("{}", "model: Field required; expected a folder that segment.export format=hub wrote"),
        ('{"architectures": ["BertModel"]}', "expected a folder that segment.export format=hub wrote"),
        ('{"model":' + "[" * 100_000 + "]" * 100_000 + "}", "Invalid JSON"),
        ('{"model": ' + "9" * 5000 + "}", "Invalid JSON"),
        ('{"model": {"x": NaN}}', "Invalid JSON: NaN is no number of JSON"),
        ('{"model": {"x": -Infinity}}', "Infinity is no number of JSON"),
        ('{"model": {"x": 1e999}}', "1e999 is too large for a number"),
    ],
)
def test_a_file_that_is_no_config_is_refused(shared, text, message):
    rewrite(shared, text=text)
    assert message in fault(shared)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"_target_": "os.system", "command": "touch done"}}, "refused, it names 'os.system'"),
        (
            {"model": {"_target_": "segment.models.SegmentationNet", "encoder": {"_target_": "os.system"}}},
            "'os.system'",
        ),
        ({"model": {"_target_": "/tmp/evil.py"}}, "refused, it names"),
        ({"model": {"_target_": "\ud800"}}, "refused, it names"),
        ({"model": {"_target_": "segment.models.UNetEncoder", "width": 10**4000}}, "its net cannot be built"),
        ({"model": {"_target_": "segment.models.UNetEncoder", "depth": 10**9}}, "its net cannot be built"),
        ({"model": {"_target_": "segment.models.UNetEncoder", "save_dir": "/etc"}}, "refused, it writes into another"),
        ({"model": {"_args_": ["x"]}}, "refused, its configuration has _args_"),
        ({"model": {"x": "${oc.env:HOME}"}}, "it has the interpolation"),
        ({"model": "os.system"}, "model: Input should be a valid dictionary"),
        ({"model": {"x": [0] * 20_000}}, "more than 10000 values"),
        ({"images": [[]]}, "images.0: Input should be a valid string"),
        ({"more": [[]] * 600_000}, "more than 1,000,000 values"),
        ({"classes": {}}, "class names and colours are damaged"),
        ({"classes": {"names": ["a"], "palette": [[0, 0, 10**400]]}}, "class names and colours are damaged"),
        ({"classes": {"names": ["\x1b[2J"], "palette": [[0, 0, 0]]}}, "class names and colours are damaged"),
        ({"classes": {"names": ["a", "b"], "palette": [[0, 0, 0]] * 2}}, "does not fit SegmentationNet"),
        ({"weights_sha256": "0" * 64}, "is not the file that its config.json was written with"),
        ({"weights_sha256": 7}, "weights_sha256: Input should be a valid string"),
    ],
)
def test_a_stranger_s_config_runs_no_code(shared, monkeypatch, tmp_path, changes, message):
    monkeypatch.chdir(tmp_path)
    rewrite(shared, **changes)
    assert message in fault(shared)
    assert not (tmp_path / "done").exists()


def test_a_config_is_bounded_in_size_and_depth(shared):
    deep = []
    for _ in range(100):
        deep = [deep]
    rewrite(shared, model={"x": deep})
    assert "50 levels" in fault(shared)
    with (shared / CONFIG).open("ab") as file:
        file.truncate(2**25 + 1)
    assert "is larger than 33,554,432 bytes" in fault(shared)


def test_a_file_of_weights_is_bounded_in_size(shared):
    with (shared / WEIGHTS).open("ab") as file:
        file.truncate(2**40)
    assert f"{WEIGHTS}: refused, it has 1,099,511,627,776 bytes, expected up to" in fault(shared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, "does not fit SegmentationNet: keys"),
        (lambda state: {**state, "more": torch.zeros(1)}, "1 unknown (more)"),
        (lambda state: {key: value.flatten() for key, value in state.items()}, "of another shape"),
        (
            lambda state: {
                key: torch.full_like(value, float("nan")) if value.is_floating_point() else value
                for key, value in state.items()
            },
            "not finite",
        ),
        (lambda state: {key: value.to(torch.complex64) for key, value in state.items()}, "of another shape"),
        (lambda state: {key: value.to(torch.float8_e4m3fn) for key, value in state.items()}, "of another shape"),
        (lambda state: {key: halved(value) for key, value in state.items()}, "has the type torch.float4_e2m1fn_x2"),
    ],
)
def test_weights_that_do_not_fit_are_refused(shared, change, message):
    state = safetensors.load_file(shared / WEIGHTS)
    rewrite(shared, safetensors.save(change(state)))
    assert message in fault(shared)


def test_a_damaged_file_of_weights_is_refused(shared):
    content = (shared / WEIGHTS).read_bytes()
    for damaged in (b"", content[:-1], content[:7], b"version https://git-lfs.github.com/spec/v1\n", content + b"\0"):
        (shared / WEIGHTS).write_bytes(damaged)
        assert f"{WEIGHTS} is not the file that its {CONFIG} was written with" in fault(shared)
        rewrite(shared, damaged)  # the hash is a stranger's, too
        assert f"{WEIGHTS} is damaged" in fault(shared)
    rewrite(shared, (2**60).to_bytes(8, "little") + b"{}")
    assert f"{WEIGHTS} is damaged" in fault(shared)


def test_one_file_alone_is_no_folder(shared):
    (shared / CARD).unlink()
    config = (shared / CONFIG).read_bytes()
    (shared / CONFIG).unlink()
    assert f"{CONFIG} does not exist" in fault(shared)
    (shared / CONFIG).write_bytes(config)
    (shared / WEIGHTS).unlink()
    assert f"{WEIGHTS} does not exist" in fault(shared)
    (shared / WEIGHTS).mkdir()
    assert "is a folder, not a file" in fault(shared)


def test_what_cannot_be_written_whole_is_no_folder(content, tmp_path, monkeypatch):
    (tmp_path / "a" / CARD).mkdir(parents=True)  # in the way of the second file
    with pytest.raises(SegmentError, match="Is a directory"):
        write_hub_folder(tmp_path / "a", nn.Linear(1, 1), public_metadata(content[METADATA]), "", None)
    assert f"{CONFIG} does not exist" in fault(tmp_path / "a")


def test_without_the_extra_there_is_one_line(shared, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install 'segment-lightning[hub]'" in fault(shared)
