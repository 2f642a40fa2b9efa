"""The inputs of a command and the files that are planned for them: images, videos, cameras."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from segment.errors import SegmentError
from segment.prediction import work
from segment.prediction.work import plan_work


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "clip.mp4", "clip.jpg", "sub/clip.webm", "sub/clip/000001.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def planned(source, output, **options):
    found = plan_work(source, output, None, "predict", [".json"], "_overlay.mp4", **options)
    return [{path.name: str(files.stem.relative_to(output)) for path, files in plan.items()} for plan in found]


def test_images_and_videos_of_a_folder_are_both_processed(folder, tmp_path, capsys):
    assert planned(folder, tmp_path / "o") == [{"a.png": "a", "clip.jpg": "clip"}, {"clip.mp4": "clip"}]
    assert "note: 2 images and 1 videos: each is processed" in capsys.readouterr().out
    images, videos = planned(Path(f"{folder}/**/*"), tmp_path / "o")
    assert (len(images), videos) == (3, {"clip.mp4": "clip", "clip.webm": "sub/clip.webm"}), "its folder is taken"


def test_without_pyav_images_are_processed_and_videos_alone_are_an_error(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(work, "find_spec", lambda name: None if name == "av" else importlib.util.find_spec(name))
    assert planned(folder, tmp_path / "o") == [{"a.png": "a", "clip.jpg": "clip"}, {}]
    assert "note: 1 videos are left out: they need PyAV, pip install" in capsys.readouterr().out
    with pytest.raises(SegmentError, match=r"clip\.mp4: .* needs PyAV: pip install 'segment-lightning\[video\]'"):
        planned(folder / "clip.mp4", tmp_path / "o")


def test_a_recording_has_its_time_in_its_name(tmp_path):
    _, videos = planned(Path("camera:0"), tmp_path / "o")
    assert re.fullmatch(r"camera0_\d{8}-\d{6}", videos["camera:0"])


def test_a_video_never_replaces_its_input(folder):
    with pytest.raises(SegmentError, match=r"clip\.mp4 would overwrite an input"):
        plan_work(folder / "clip.mp4", folder, None, "apply", [], ".mp4")


def test_a_table_may_lie_beside_the_images(folder):
    images, videos = planned(folder / "a.png", folder, is_table=True)
    assert (images, videos) == ({"a.png": "a"}, {})
    assert planned(folder, folder, is_table=True)[0] == {"a.png": "a", "clip.jpg": "clip"}


def test_a_folder_that_cannot_be_made_is_one_line(folder):
    with pytest.raises(SegmentError, match=r"Not a directory|File exists"):
        planned(folder / "a.png", folder / "notes.txt" / "o")
