"""Untrusted files of weights are refused within seconds, in one line of at most 300 characters."""

import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from segment.errors import SegmentError
from segment.models import file_checks
from segment.models.file_checks import bounded_build, check_content
from segment.models.weights import load_file


def saved(path, content):
    torch.save(content, path)
    return path


def refusal(path):
    with pytest.raises(SegmentError) as error:
        load_file(path)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)
    return str(error.value)


def test_plain_content_loads(tmp_path):
    content = {"net": nn.Linear(2, 2).state_dict(), "list": [1, 2.5, None, "text"]}
    loaded = load_file(saved(tmp_path / "a.ckpt", content))
    assert torch.equal(loaded["net"]["weight"], content["net"]["weight"])
    assert loaded["list"] == content["list"]


def test_a_flipped_byte_of_the_weights_is_found(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"weight": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    place = content.index(bytes(4000))
    content[place + 2000] ^= 1
    path.write_bytes(content)
    assert "is damaged: the checksum" in refusal(path)


def test_a_pickle_of_hundreds_of_megabytes_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.ckpt", {"weight": torch.zeros(1000), "name": "a" * 10_000})
    load_file(path)
    monkeypatch.setattr("segment.models.file_checks.MAX_PICKLE_BYTES", 10_000)
    assert "its values take more than 10,000 bytes" in refusal(path)


def test_compressed_entries_are_refused(tmp_path):
    path = saved(tmp_path / "a.ckpt", {"weight": torch.zeros(1000)})
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert "compressed entries" in refusal(tmp_path / "b.ckpt")


def test_values_that_are_nested_deep_are_refused(tmp_path):
    content: dict = {}
    for _ in range(200):
        content = {"deeper": content}
    assert "50 levels" in refusal(saved(tmp_path / "a.ckpt", content))


def shared_values():
    """Return a list of 2^40 values, if each reference were followed."""
    content: list = [1]
    for _ in range(40):
        content = [content, content]
    return content


def cycle():
    content: list = []
    content.append(content)
    return content


@pytest.mark.parametrize("make", [shared_values, cycle, lambda: [0] * 10_000])
def test_values_without_end_are_refused(make):
    with pytest.raises(SegmentError, match="more than 10000 values or 50 levels"):
        check_content({"content": make()}, "a.ckpt", 10_000)


@pytest.mark.parametrize(
    "weight",
    [torch.eye(3).to_sparse(), torch.zeros(1).expand(10**9), torch.zeros(2, device="meta")],
    ids=["sparse", "expanded", "meta"],
)
def test_tensors_that_are_larger_than_their_bytes_are_refused(tmp_path, weight):
    refusal(saved(tmp_path / "a.ckpt", {"weight": weight}))


def with_pickle(folder, pickled, name="data.pkl"):
    """Write a zip file of torch with another pickle; return its path."""
    path = saved(folder / "a.ckpt", {"weight": torch.zeros(2)})
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(folder / "b.ckpt", "w") as target:
        for entry in source.infolist():
            content = pickled if entry.filename.endswith("data.pkl") else source.read(entry)
            target.writestr(entry.filename.replace("data.pkl", name), content)
    return folder / "b.ckpt"


def before_torch_1_6(folder, pickled):
    """Write a file in torch's old format, whose content is a pickle; return its path."""
    start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001})]
    (folder / "old.ckpt").write_bytes(b"".join([*start, pickled, pickle.dumps([], 2)]))
    return folder / "old.ckpt"


def bytearray_of_gigabytes():
    class Bomb:
        def __reduce__(self):
            return bytearray, (4 * 10**9,)

    return pickle.dumps({"bomb": Bomb()}, 2)


def key_of_shared_tuples():
    """Pickle {0: [t0, t1, ...], t40: 1} with t1 = (t0, t0), t2 = (t1, t1), ...: to hash t40 takes for ever."""
    pairs = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(1, 41))
    return b"\x80\x02}(K\x00](K\x01\x85q\x01" + pairs + b"eh\x29K\x01u."


@pytest.mark.parametrize("write", [with_pickle, before_torch_1_6])
def test_pickles_that_would_take_gigabytes_or_hours_are_refused(tmp_path, write):
    assert "a type that torch.save does not write" in refusal(write(tmp_path, bytearray_of_gigabytes()))
    assert "it has more than" in refusal(write(tmp_path, key_of_shared_tuples()))
    plain = write(tmp_path, pickle.dumps({("a", (1, 2)): {"b": [True]}}, 2))
    assert load_file(plain) == {("a", (1, 2)): {"b": [True]}}


def test_a_pickle_of_endless_operations_is_refused(tmp_path, monkeypatch):
    """Each pair of operations puts a value on the stack and takes it off again, so that nothing grows."""
    monkeypatch.setattr(file_checks, "MAX_OPERATIONS", 1000)
    assert "it has more than" in refusal(with_pickle(tmp_path, b"\x80\x02" + b"N0" * 1000 + b"}."))


def test_a_pickle_is_checked_under_the_names_that_torch_takes(tmp_path):
    """torch finds data.pkl in any letter case, and reads a zip file behind other bytes as its old format."""
    path = with_pickle(tmp_path, bytearray_of_gigabytes(), "DATA.PKL")
    assert "a type that torch.save does not write" in refusal(path)
    path.write_bytes(bytearray_of_gigabytes() + saved(tmp_path / "a.ckpt", {}).read_bytes())
    assert "a type that torch.save does not write" in refusal(path)


def test_a_named_pipe_is_no_file_of_weights(tmp_path):
    os.mkfifo(tmp_path / "a.ckpt")
    assert refusal(tmp_path / "a.ckpt") == f"{tmp_path}/a.ckpt is a named pipe, not a file"


def test_a_net_that_is_larger_than_its_weights_is_not_built():
    with bounded_build({"weight": torch.zeros(10)}):
        nn.Linear(10, 10)
    with pytest.raises(SegmentError, match="larger than its weights"), bounded_build({}):
        nn.Linear(100_000, 100_000, device="meta")
    with pytest.raises(SegmentError, match="larger than its weights"), bounded_build({}):
        nn.ModuleList(nn.PReLU() for _ in range(10**6))  # few elements, in many layers
    nn.Linear(2, 2)  # the hook is gone
    weight = torch.zeros(10**6)
    views = {str(i): weight[:] for i in range(10_000)}
    with pytest.raises(SegmentError, match="larger than its weights"), bounded_build(views):
        nn.Linear(15_000, 15_000, device="meta")
