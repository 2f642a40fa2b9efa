"""The files of an image: their names, what they record, and whose files they never replace."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.classes import Classes
from segment.errors import SegmentError
from segment.prediction.output_files import JOURNALS, OutputFiles, output_stems, prepare_folder, written_names
from segment.prediction.segmenter import Segmentation

CLASSES = Classes(("background", "disc"), ((0, 0, 0), (255, 0, 0)))
RESULT = Segmentation(
    np.zeros((2, 4, 3), np.uint8), np.array([[0, 0, 0, 1]] * 2, np.uint8), CLASSES, np.full((2, 2, 4), 127, np.uint8)
)


def test_names_keep_their_suffix_only_where_it_tells_images_apart():
    images = [
        Path("in") / name for name in ("a.jpg", "sub/a.jpg", "same.jpg", "same.png", "same.jpg.png", "dots.1.jpg")
    ]
    stems = output_stems(images, Path("in"), Path("out"))
    names = ["out/a", "out/sub/a", "out/same.jpg", "out/same.png", "out/same.jpg.png", "out/dots.1"]
    assert [str(stem) for stem in stems.values()] == names


def test_a_video_beside_a_folder_of_its_name_keeps_its_suffix():
    assert output_stems([Path("clip.mp4")], Path(), Path("o"), [Path("clip")]) == {Path("clip.mp4"): Path("o/clip.mp4")}


@pytest.mark.parametrize("name", ["a.png", "a_overlay.jpg"])
def test_an_output_never_replaces_an_input(tmp_path, name):
    images = [tmp_path / "a.bmp", tmp_path / name]
    stems = output_stems(images[-1:] if name == "a.png" else images, tmp_path, tmp_path)
    plan = {path: OutputFiles(stem, ["_overlay.jpg"]) for path, stem in stems.items()}
    with pytest.raises(SegmentError, match=f"{name} would overwrite an input; choose another folder"):
        prepare_folder(tmp_path, plan)


def test_all_files_are_written_and_record_their_origin(tmp_path):
    files = OutputFiles(tmp_path / "new" / "a", ["_overlay.jpg", ".json", ".npz"])
    assert files.recorded() == ("", [])
    assert not files.are_complete("origin 1")
    files.write(RESULT, Path("in/a.jpg"), "origin 1")
    names = ["a.json", "a.npz", "a.png", "a_overlay.jpg"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [JOURNALS["predict"], *names]
    assert sorted(map(json.loads, (tmp_path / "new" / JOURNALS["predict"]).read_text().splitlines())) == names
    assert files.recorded() == ("origin 1", [".png", "_overlay.jpg", ".json", ".npz"])
    assert files.are_complete("origin 1")
    assert not files.are_complete("origin 2")
    assert np.array_equal(np.array(Image.open(files.path(".png"))), RESULT.mask)
    pixels = {"background": 6, "disc": 2}
    content = {"image": "in/a.jpg", "width": 4, "height": 2, "pixels": pixels}
    assert json.loads(files.path(".json").read_text()) == content
    assert np.array_equal(np.load(files.path(".npz"))["probabilities"], RESULT.probabilities)


@pytest.mark.parametrize("suffix", [".png", ".json"])
def test_files_that_are_damaged_or_missing_are_not_complete(tmp_path, suffix):
    files = OutputFiles(tmp_path / "a", [".json"])
    files.write(RESULT, Path("a.jpg"), "origin")
    if suffix == ".png":
        files.path(suffix).write_bytes(files.path(suffix).read_bytes()[:-20])
    else:
        files.path(suffix).unlink()
    assert not files.are_complete("origin")


def test_the_mask_is_moved_into_place_last(tmp_path, monkeypatch):
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda part, path: moved.append(path.name) or replace(part, path))
    OutputFiles(tmp_path / "a", ["_overlay.jpg", ".json", ".npz"]).write(RESULT, Path("a.jpg"), "origin")
    assert moved[-1] == "a.png"
    assert len(moved) == 4


def test_a_mask_that_a_user_has_edited_is_not_replaced(tmp_path):
    files = OutputFiles(tmp_path / "a", [])
    files.write(RESULT, Path("a.jpg"), "origin")
    prepare_folder(tmp_path, {Path("a.jpg"): files})
    content = files.path(".png").read_bytes()
    Image.fromarray(1 - RESULT.mask).save(files.path(".png"))
    with pytest.raises(SegmentError, match=r"a.png exists, and segment.predict did not write it"):
        prepare_folder(tmp_path, {Path("a.jpg"): files})
    for damaged in (b"", content[:-20]):
        files.path(".png").write_bytes(damaged)
        prepare_folder(tmp_path, {Path("a.jpg"): files})


def test_extras_of_another_mask_are_removed_and_those_of_the_same_stay(tmp_path):
    both, mask = OutputFiles(tmp_path / "a", [".json"]), OutputFiles(tmp_path / "a", [])
    both.write(RESULT, Path("a.jpg"), "origin 1")
    mask.write(RESULT, Path("a.jpg"), "origin 1")
    assert mask.recorded() == ("origin 1", [".png", ".json"])
    mask.write(RESULT, Path("a.jpg"), "origin 2")
    assert not both.path(".json").exists()


def test_foreign_files_are_refused_before_anything_is_written(tmp_path):
    files = OutputFiles(tmp_path / "o" / "a", [".json"])
    prepare_folder(tmp_path / "o", {Path("a.jpg"): files})
    assert (tmp_path / "o").is_dir()
    files.path(".json").write_text("mine")
    with pytest.raises(
        SegmentError, match=r"a.json exists, and segment.predict did not write it: choose another folder"
    ):
        prepare_folder(tmp_path / "o", {Path("a.jpg"): files})
    with pytest.raises(SegmentError, match=r"a.json: it is a file, expected a folder"):
        prepare_folder(files.path(".json"), {})


def test_files_of_a_killed_run_are_recognised(tmp_path):
    """A kill may leave the extras without the mask, and a user may delete the mask."""
    files = OutputFiles(tmp_path / "a", [".json"])
    files.write(RESULT, Path("a.jpg"), "origin")
    files.path(".png").unlink()
    assert files.foreign(written_names(files.journal)) == []
    assert not files.are_complete("origin")
    other = OutputFiles(tmp_path / "b", [".json"])
    other.path(".json").write_text("the user's")
    assert other.foreign(written_names(other.journal)) == [other.path(".json")]


def test_parts_that_a_killed_run_left_are_deleted(tmp_path):
    files = OutputFiles(tmp_path / "a", [".json"])
    for path in (files.path(".png"), files.path(".json"), tmp_path / "b.png"):
        (tmp_path / f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}.12.part").touch()
    prepare_folder(tmp_path, {Path("a.jpg"): files})
    assert len(list(tmp_path.iterdir())) == 1  # that of b.png


def test_a_name_of_240_letters_is_written(tmp_path):
    files = OutputFiles(tmp_path / ("a" * 240), ["_overlay.jpg"])
    files.write(RESULT, Path("a.jpg"), "origin")
    assert files.are_complete("origin")


def test_an_overlay_beyond_a_jpeg_is_a_png(tmp_path, monkeypatch):
    monkeypatch.setattr("segment.prediction.output_files.JPEG_SIDE", 30)
    files = OutputFiles(tmp_path / "a", ["_overlay.jpg"])
    files.path("_overlay.png").write_text("the user's")
    with pytest.raises(SegmentError, match=r"a_overlay.png exists, and segment.predict did not write it"):
        files.write(RESULT, Path("a.jpg"), "origin")
    files.path("_overlay.png").unlink()
    files.write(RESULT, Path("a.jpg"), "origin")
    assert Image.open(files.path("_overlay.png")).size[0] > 30
    assert files.are_complete("origin")
    files.write(RESULT, Path("a.jpg"), "origin")
    monkeypatch.undo()
    files.write(RESULT, Path("a.jpg"), "origin 2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [JOURNALS["predict"], "a.png", "a_overlay.jpg"]


@pytest.mark.parametrize(("width", "suffix"), [(65_500, "jpg"), (65_501, "png")])
def test_the_longest_side_of_a_jpeg(tmp_path, width, suffix):
    result = Segmentation(np.zeros((1, width, 3), np.uint8), np.zeros((1, width), np.uint8), CLASSES)
    OutputFiles(tmp_path / "a", ["_overlay.jpg"]).write(result, Path("a.jpg"), "origin")
    assert Image.open(tmp_path / f"a_overlay.{suffix}").size[0] == width


def test_a_name_with_line_ends_is_recognised(tmp_path):
    files = OutputFiles(tmp_path / "a\nb\u2028", [])
    files.write(RESULT, Path("a.jpg"), "origin")
    assert files.foreign(written_names(files.journal)) == []
