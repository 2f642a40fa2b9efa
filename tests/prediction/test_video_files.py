"""The files of a video: what counts as finished, and what may be replaced or removed."""

import hashlib

import numpy as np
import pytest

from segment.data.classes import Classes
from segment.errors import SegmentError
from segment.prediction.output_files import prepare_folder
from segment.prediction.segmenter import Segmentation
from segment.prediction.video_files import VideoFiles, frame_origin
from segment.prediction.video_loop import process_frames
from tests.clips import stored, write_clip

CLASSES = Classes(("background", "disc"), ((0, 0, 0), (255, 0, 0)))


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", frames=5)


def predicted(clip, files, origin="origin", fail_at=0):
    """Write all files of a clip."""

    def draw(frame):
        if frame.number == fail_at:
            raise KeyboardInterrupt
        found = Segmentation(frame.image, (frame.image[..., 0] > 128).astype(np.uint8), CLASSES)
        files.frame(frame.number).write(found, "clip", frame_origin(origin, frame.number))
        return frame.image

    return process_frames(clip, files, origin, draw)


def test_a_video_is_complete_with_all_its_masks(clip, tmp_path, capsys):
    files = VideoFiles(tmp_path / "o" / "clip", [".json", "_overlay.jpg"], "predict", "_overlay.mp4")
    assert not files.are_complete("origin")
    assert predicted(clip, files) == 5
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        ".segment_predict.txt",
        "clip",
        "clip_overlay.mp4",
    ]
    assert len(stored(tmp_path / "o" / "clip_overlay.mp4")) == 5
    assert files.are_complete("origin")
    assert not files.are_complete("another")
    files.frame(5).path(".json").unlink()
    assert not files.are_complete("origin")
    assert files.numbers() == [1, 2, 3, 4, 5]
    assert VideoFiles(tmp_path / "o" / "clip", [], "apply", "_overlay.mp4").are_complete("origin")
    assert not VideoFiles(tmp_path / "o" / "clip", [], "predict", None).are_complete("origin")


def test_an_interrupted_video_leaves_no_video(clip, tmp_path):
    files = VideoFiles(tmp_path / "o" / "clip", [], "predict", "_overlay.mp4")
    with pytest.raises(KeyboardInterrupt):
        predicted(clip, files, fail_at=3)
    assert files.numbers() == [1, 2]
    assert not files.path("_overlay.mp4").exists()
    assert not list((tmp_path / "o").glob("*.part"))
    assert not list((tmp_path / "o").glob(".*.part"))


def test_parts_that_a_killed_run_left_are_deleted(clip, tmp_path):
    files = VideoFiles(tmp_path / "o" / "clip", [], "predict", "_overlay.mp4")
    with pytest.raises(KeyboardInterrupt):
        predicted(clip, files, fail_at=3)
    for path in (files.path("_overlay.mp4"), files.frame(2).path(".png"), files.frame(3).path(".png")):
        path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}.12.part").touch()
    prepare_folder(tmp_path / "o", {clip: files})
    assert not list((tmp_path / "o").rglob(".*.part"))


def test_frames_of_a_longer_video_are_removed_and_nothing_else(clip, tmp_path):
    files = VideoFiles(tmp_path / "o" / "clip", [], "predict", None)
    predicted(clip, files)
    (tmp_path / "o" / "clip" / "000009.png").write_bytes(b"mine")
    (tmp_path / "o" / "clip" / "notes.txt").write_text("mine")
    files.remove_frames_after(3)
    assert files.numbers() == [1, 2, 3, 9]
    with pytest.raises(SegmentError, match=r"000009\.png exists, and segment\.predict did not write it"):
        files.refuse_foreign(frozenset())


def test_a_video_of_another_program_stays(clip, tmp_path):
    (tmp_path / "clip_overlay.mp4").write_text("mine")
    files = VideoFiles(tmp_path / "clip", [], "predict", "_overlay.mp4")
    assert not files.are_complete("origin")
    with pytest.raises(SegmentError, match=r"clip_overlay\.mp4 exists, and segment\.predict did not write it"):
        files.refuse_foreign(frozenset())


def test_a_disk_that_is_full_leaves_no_video(clip, tmp_path, monkeypatch):
    import errno

    from segment.prediction import video_loop

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    real = video_loop.VideoWriter
    monkeypatch.setattr(video_loop, "VideoWriter", lambda file, *rest: real(Full(file), *rest))
    files = VideoFiles(tmp_path / "o" / "clip", [], "predict", "_overlay.mp4")
    with pytest.raises(OSError, match="No space left") as error:
        predicted(clip, files)
    assert error.value.filename == str(files.path("_overlay.mp4"))
    assert not files.path("_overlay.mp4").exists()
