"""Up to the hub and back again, against a server of this machine."""

import sys

import pytest

from segment.errors import SegmentError
from segment.records.folder import checkpoint_path
from segment.records.hub import CARD, CONFIG, MAX_FILE_BYTES, PICTURE, WEIGHTS, check_push, download, hub_address, push

FILES = {WEIGHTS: b"weights", CONFIG: b"{}", CARD: b"card"}


def test_only_the_files_of_a_shared_folder_are_downloaded_and_all_of_one_commit(hub, capsys):
    first = hub.commit("ada/cells", {**FILES, "evil.py": b"", "pytorch_model.bin": b"x", PICTURE: b"x"})
    folder = download("hf://ada/cells")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert capsys.readouterr().out == f"hf://ada/cells is hf://ada/cells@{first}\n"
    hub.commit("ada/cells", {CARD: b"new"})
    assert download(f"hf://ada/cells@{first}") == folder
    assert capsys.readouterr().out == ""
    assert (download("hf://ada/cells") / CARD).read_bytes() == b"new"
    assert hub.fetched() == {*FILES}
    assert hub_address(checkpoint_path(f"hf://ada/cells@{first}")) == f"hf://ada/cells@{first}"


def test_a_card_is_not_needed(hub):
    hub.commit("ada/cells", {WEIGHTS: b"w", CONFIG: b"{}"})
    assert {path.name for path in download("hf://ada/cells").iterdir()} == {WEIGHTS, CONFIG}


def test_mistakes_and_failures_are_one_line(hub, monkeypatch):
    hub.commit("ada/cells", FILES)
    hub.commit("ada/half", {CONFIG: b"{}"})
    hub.commit("ada/large", {**FILES, CONFIG: b" " * 9})
    hub.refused["/ada/down/resolve/main/config.json"] = 403
    monkeypatch.setitem(MAX_FILE_BYTES, CONFIG, 8)
    messages = {
        "hf://ada": "expected hf://USER/NAME or hf://USER/NAME@REVISION",
        "hf://ada/../cells": "expected hf://USER/NAME",
        "hf://ada/cells@../../x": "expected hf://USER/NAME",
        "hf://ada/none": "not found, or private",
        "hf://ada/cells@v9": "it has no such revision",
        "hf://ada/half": f"it lacks {WEIGHTS} or {CONFIG}",
        "hf://ada/large": f"refused, its {CONFIG} has 9 bytes, expected up to 8",
        "hf://ada/down": "403",
    }
    for address, message in messages.items():
        with pytest.raises(SegmentError) as error:
            checkpoint_path(address)
        assert str(error.value).startswith(f"{address}: ")
        assert message in str(error.value)
        assert "\n" not in str(error.value)
        assert "hf_secret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SegmentError, match=r"pip install 'segment-lightning\[hub\]'"):
        download("hf://ada/cells")


def test_what_was_downloaded_serves_without_a_connection(hub, monkeypatch):
    hub.commit("ada/cells", FILES)
    folder = download("hf://ada/cells")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert download("hf://ada/cells") == folder
    with pytest.raises(SegmentError, match=r"^hf://ada/other: OfflineModeIsEnabled: Cannot reach"):
        download("hf://ada/other")


@pytest.mark.slow
def test_a_download_that_is_cut_off_leaves_nothing(hub):
    commit = hub.commit("ada/cells", FILES)
    hub.broken = True
    with pytest.raises(SegmentError, match=r"^hf://ada/cells: "):
        download("hf://ada/cells")
    hub.broken = False
    assert (download("hf://ada/cells") / WEIGHTS).read_bytes() == b"weights"
    assert hub_address(download("hf://ada/cells") / CONFIG) == f"hf://ada/cells@{commit}"


def test_an_upload_is_one_commit_to_a_private_repository(hub, tmp_path, capsys):
    for name, content in {**FILES, PICTURE: b"picture", "notes.txt": b"mine"}.items():
        (tmp_path / name).write_bytes(content)
    address = push(tmp_path, "ada/cells")
    assert "ada/cells is new and private" in capsys.readouterr().out
    assert hub.private == {"ada/cells"}
    assert [*hub.repositories["ada/cells"].values()] == [{**FILES, PICTURE: b"picture"}]
    assert hub_address(download(address) / CONFIG) == address
    hub.private.clear()
    (tmp_path / CARD).write_bytes(b"new")
    capsys.readouterr()
    push(tmp_path, "ada/cells")
    note = (
        "note: ada/cells exists and is public; its earlier commits keep the README.md, config.json, example.png, model"
    )
    assert capsys.readouterr().out.startswith(note)
    assert (download("hf://ada/cells") / CARD).read_bytes() == b"new"


def test_an_upload_that_is_refused_is_one_line(hub, tmp_path, monkeypatch):
    (tmp_path / CONFIG).write_bytes(b"{}")
    hub.refused["/api/repos/create"] = 403
    with pytest.raises(SegmentError, match=r"^push=ada/cells: .*403"):
        push(tmp_path, "ada/cells")
    check_push("ada/cells")
    for name in ("cells", "ada/", "ada/../x", "hf://ada/cells", "a/b/c", ""):
        with pytest.raises(SegmentError, match="expected USER/NAME"):
            check_push(name)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        SegmentError, match="push=ada/cells needs a token of the hub: run `hf auth login`, or set HF_TOKEN"
    ):
        check_push("ada/cells")
