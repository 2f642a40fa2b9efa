"""Files are written completely or not at all, and paths are read as users give them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segment.errors import SegmentError
from segment.files import (
    PART,
    PARTS,
    checkpoint_digest,
    clear_parts,
    first_names,
    printable,
    shown,
    user_path,
    whole_file,
)


def test_a_whole_file_appears_at_once_and_replaces_the_earlier_one(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    with whole_file(path) as file:
        file.write("first")
        assert not path.exists()
    with whole_file(path, "wb") as file:
        file.write(b"second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(28, "full"), OSError("of Pillow")])
def test_after_an_error_the_earlier_file_is_unchanged(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("first")
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind) as raised, whole_file(path) as file:  # noqa: PT012 (the block is what fails)
        file.write("second")
        raise error
    assert path.read_text() == "first"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    if isinstance(error, OSError):  # with a name, an error without a number would read "[Errno None] None"
        assert str(raised.value) in (f"[Errno 28] full: '{path}'", "of Pillow")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(IsADirectoryError) as raised, whole_file(tmp_path / "a.txt") as file:
        file.write("x")
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(OSError, match="other") as raised, whole_file(tmp_path / "a.txt"):
        (tmp_path / "other").open()
    assert raised.value.filename == str(tmp_path / "other")


def test_the_first_names_of_a_stranger_s_file_are_one_line():
    assert first_names(["a\n\x1b[2J", "b"]) == "a\\n\\x1b[2J, b"
    assert first_names(["a", "b", "c", "d"]) == "a, b, c, ..."


def test_the_longest_possible_name_and_two_writers_of_one_file(tmp_path):
    path = tmp_path / ("ä" * 127)
    with whole_file(path) as file:
        file.write("x")
        (part,) = tmp_path.iterdir()
        assert str(os.getpid()) in part.name  # another process has another part
    assert path.read_text() == "x"


KILLED = """
import os, sys
from pathlib import Path
from segment.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    print("writing", flush=True)
    sys.stdin.read()
    os._exit(1)
"""


def test_parts_of_killed_writers_are_deleted_and_those_of_living_ones_and_of_others_are_kept(tmp_path):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    foreign = [tmp_path / ".mine.part", tmp_path / ".a.txt.12.part"]
    for one in foreign:
        one.touch()
    writers = []
    for target in (path, other):
        command = [sys.executable, "-c", KILLED, str(target)]
        writers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert writers[-1].stdout.readline() == b"writing\n"
    before = {*tmp_path.iterdir()}
    clear_parts([path, other])
    assert {*tmp_path.iterdir()} == before
    for writer in writers:
        writer.kill()
        writer.communicate()
    clear_parts([path])
    (kept,) = {*tmp_path.iterdir()} - {*foreign}
    clear_parts([path, other, tmp_path / "none" / "c.txt"])
    assert not kept.exists()
    assert {*tmp_path.iterdir()} == {*foreign}


def test_a_user_s_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert user_path("~/a", "input") == Path("/home/someone/a")
    assert user_path("~nobody-of-this-name/a", "input") == Path("~nobody-of-this-name/a")
    assert user_path(Path("a"), "input") == Path("a")
    for empty in (None, "", " "):
        with pytest.raises(SegmentError, match=r"^input is empty: give input=PATH$"):
            user_path(empty, "input")


def test_unprintable_characters_are_escaped():
    assert printable("a\nb \x1b[2J é\udcff") == "a\\nb \\x1b[2J é\\udcff"


def test_the_digest_of_a_small_file_covers_every_byte(tmp_path):
    path, content = tmp_path / "a.ckpt", bytearray(1000)
    path.write_bytes(content)
    before = checkpoint_digest(path)
    content[500] = 1
    path.write_bytes(content)
    assert checkpoint_digest(path) != before
    assert len(before) == 16


@pytest.mark.parametrize("position", [0, PART - 1, -1])
def test_the_digest_of_a_large_file_covers_its_size_its_head_and_its_end(tmp_path, position):
    path, content = tmp_path / "a.ckpt", bytearray(4 * PARTS * PART)
    path.write_bytes(content)
    before = checkpoint_digest(path)
    content[position] = 1
    path.write_bytes(content)
    changed = checkpoint_digest(path)
    path.write_bytes(content + b"\0")
    assert len({before, changed, checkpoint_digest(path)}) == 3


def test_a_path_is_shown_as_it_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "a") == "runs/a"
    assert shown(Path("runs/a")) == "runs/a"
    assert shown(tmp_path.parent) == str(tmp_path.parent)
