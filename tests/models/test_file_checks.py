"""Untrusted files of weights are refused within seconds, in one line of at most 300 characters."""

import io
import pickle
import zipfile

import pytest
import torch
from torch import nn

from segment.errors import SegmentError
from segment.models.file_checks import MAX_VALUES, bounded_build, check_size
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
    assert "nested more than" in refusal(saved(tmp_path / "a.ckpt", content))


def test_shared_references_are_visited_once(tmp_path):
    content: list = [1]
    for _ in range(40):  # 2^40 values, if each reference were followed
        content = [content, content]
    path = saved(tmp_path / "a.ckpt", {"shared": content})
    loaded = load_file(path)
    with pytest.raises(SegmentError, match=f"more than {MAX_VALUES} values"):
        check_size(loaded, path)


def test_a_cycle_is_refused(tmp_path):
    cycle: list = []
    cycle.append(cycle)
    loaded = load_file(saved(tmp_path / "a.ckpt", {"cycle": cycle}))
    with pytest.raises(SegmentError, match="levels"):
        check_size(loaded, "a.ckpt")


@pytest.mark.parametrize("weight", [torch.eye(3).to_sparse(), torch.zeros(1).expand(10**9)], ids=["sparse", "expanded"])
def test_tensors_that_are_larger_than_their_bytes_are_refused(tmp_path, weight):
    refusal(saved(tmp_path / "a.ckpt", {"weight": weight}))


def test_a_bytearray_that_would_allocate_gigabytes_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return bytearray, (4 * 10**9,)

    path = saved(tmp_path / "a.ckpt", {"weight": torch.zeros(2)})
    pickled = io.BytesIO()
    pickle.Pickler(pickled, 2).dump({"bomb": Bomb()})
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "b.ckpt", "w") as target:
        for entry in source.infolist():
            content = pickled.getvalue() if entry.filename.endswith("data.pkl") else source.read(entry)
            target.writestr(entry.filename, content)
    assert "a type that torch.save does not write" in refusal(tmp_path / "b.ckpt")


def test_a_net_that_is_larger_than_its_weights_is_not_built():
    with bounded_build({"weight": torch.zeros(10)}, "a.ckpt"):
        nn.Linear(10, 10)
    with pytest.raises(SegmentError, match="larger than its weights"), bounded_build({}, "a.ckpt"):
        nn.Linear(100_000, 100_000, device="meta")
    nn.Linear(2, 2)  # the hook is gone
