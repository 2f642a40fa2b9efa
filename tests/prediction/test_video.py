"""Videos that are damaged, cut off or of no use, and cameras."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from segment.errors import SegmentError
from segment.prediction.video import VideoFrame, VideoReader, import_av, is_camera
from segment.prediction.video_end import ending
from tests.clips import av, decoded, write_clip

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


def read(path):
    """Return the frames of a video, and the notes at its end."""
    with VideoReader(path) as reader:
        frames = [event for event in reader.read() if isinstance(event, VideoFrame)]
        return frames, [*reader.last_notes()]


@pytest.fixture
def fragments(tmp_path):
    return write_clip(tmp_path / "a.mp4", options=FRAGMENTS, audio="aac")


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_whole_videos_end_well(tmp_path, fragments):
    paths = [fragments, *(write_clip(tmp_path / name) for name in ("b.mp4", "b.mkv", "b.mov"))]
    paths += [write_clip(tmp_path / "b.avi", codec="mpeg4"), write_clip(tmp_path / "b.webm", codec="libvpx-vp9")]
    for path in paths:
        frames, notes = read(path)
        assert ([frame.number for frame in frames], notes) == ([*range(1, 13)], []), path


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi"])
def test_what_is_left_of_a_video_is_read_and_said(tmp_path, name):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    options = FRAGMENTS if name == "a.mp4" else None
    path = cut(write_clip(tmp_path / name, codec=codec, options=options, frames=40, size=(96, 64)), 0.8)
    frames, notes = read(path)
    assert 5 < len(frames) < 40
    assert notes == [f"{path} is cut off: the {len(frames)} frames that it has were read"]


def test_a_matroska_file_that_was_not_closed_is_named(tmp_path):
    path = write_clip(tmp_path / "a.mkv")
    content = path.read_bytes()
    at = content.index(b"\x18\x53\x80\x67") + 4
    path.write_bytes(content[:at] + b"\x01" + b"\xff" * 7 + content[at + 8 :])
    assert read(path)[1] == [f"{path} has no end mark, so it was streamed or cut off: 12 frames were read"]


@pytest.mark.parametrize("share", [0.4, 0.95])
def test_a_plain_mp4_that_is_cut_off_is_one_line(tmp_path, share):
    path = cut(write_clip(tmp_path / "a.mp4"), share)
    with pytest.raises(SegmentError, match=r"^cannot read the video .*a.mp4: it has no index, since it was cut off"):
        VideoReader(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read the video"),
        (b"hello", "cannot read the video"),
        (b"\x1a\x45\xdf\xa3", "cannot read the video"),
        (b"RIFF\x00", "cannot read the video"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(60), "it has no index"),
    ],
)
def test_a_file_that_is_no_video_is_one_line(tmp_path, content, message):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(SegmentError, match=message) as error:
        VideoReader(tmp_path / "a.mp4")
    assert "\n" not in str(error.value)


def test_a_name_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4").rename("clip12:30.mp4")
    assert len(read(Path("clip12:30.mp4"))[0]) == 12


def test_a_playlist_reads_nothing_from_a_network(tmp_path):
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(SegmentError, match="cannot read the video"):
        VideoReader(tmp_path / "a.mp4")


def test_a_video_of_an_unknown_codec_is_one_line(tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(SegmentError, match=r"^cannot read the video .*a.mp4: FFmpeg does not know its codec$"):
        VideoReader(path)


def test_audio_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="stereo")
        out.mux(stream.encode(None))
    with pytest.raises(SegmentError, match=r"it has no video stream|cannot read the video"):
        VideoReader(tmp_path / "a.mp4")


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SegmentError, match=r"its frames of 32x24 pixels need more than inference\.max_memory"):
        VideoReader(write_clip(tmp_path / "a.mp4", frames=1))


def test_damaged_packets_are_left_out_and_counted(tmp_path):
    path = write_clip(tmp_path / "a.mkv", frames=6)
    with av.open(str(path)) as video:
        place, size = [(packet.pos, packet.size) for packet in video.demux(video=0)][2]
    content = bytearray(path.read_bytes())
    content[place + 12 : place + size - 2] = bytes(size - 14)
    path.write_bytes(content)
    frames, notes = read(path)
    assert (len(frames), notes) == (5, [f"{path}: 5 frames were read, 1 damaged packets were left out"])


def test_the_size_of_an_element_may_be_unknown_or_short(tmp_path):
    (tmp_path / "a").write_bytes(b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x82\x00\x00")
    assert ending(tmp_path / "a") == ""
    (tmp_path / "a").write_bytes(b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x83\x00\x00")
    assert ending(tmp_path / "a") == "cut off"


def test_a_camera_is_read_from_time_zero_without_a_look_at_files(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv", times=[5000, 5040, 5100], frames=3)
    opened = []

    def stub(name, **options):
        opened.append((name, options))
        return container

    container = av.open(str(path))
    monkeypatch.setattr(av, "open", stub)
    monkeypatch.setattr(sys, "platform", "linux")
    frames, notes = read("camera:3")
    assert opened == [("/dev/video3", {"format": "v4l2", "options": {"framerate": "30"}})]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.1])
    assert notes == []


def test_a_camera_that_is_not_there_is_one_line():
    with pytest.raises(SegmentError, match=r"^camera:97: the camera cannot be opened: No such file or directory$"):
        VideoReader("camera:97")
    assert is_camera("camera:0")
    assert not any(map(is_camera, ("camera:", "camera:a", "x/camera:0", "camera:0.mp4")))


def test_without_pyav_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SegmentError, match=r"^a.mp4: .* needs PyAV: pip install 'segment-lightning\[video\]'$"):
        import_av("a.mp4")


def test_frames_are_those_that_pyav_decodes(tmp_path):
    path = write_clip(tmp_path / "a.mp4", size=(33, 23), codec="libvpx-vp9")
    frames, _ = read(path)
    assert all((one.image == other.to_image()).all() for one, other in zip(frames, decoded(path), strict=True))


def test_frames_without_or_with_the_same_time_follow_each_other(tmp_path):
    with VideoReader(write_clip(tmp_path / "a.mp4", frames=4)) as reader:
        frames = [event for event in reader._rest if isinstance(event, av.VideoFrame)]
        frames[2].pts = frames[1].pts
        frames[3].pts = None
        reader._rest = iter(frames)
        assert [frame.pts for frame in reader.read()] == [0, 1001, 2002, 3003]
        assert reader.count == 4
