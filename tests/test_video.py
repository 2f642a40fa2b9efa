"""``segment.predict`` and ``segment.apply`` on videos: as for the frames as images, at any length."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segment
from segment.effects import alert, recolour
from segment.prediction import video_loop
from tests.clips import audio_of, av, decoded, stored, write_clip


def frames_as_images(clip: Path, folder: Path) -> Path:
    """Write the frames of a clip as PNGs, named as the masks are."""
    folder.mkdir()
    for number, frame in enumerate(decoded(clip), 1):
        image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{number:06d}.png")
    return folder


@pytest.mark.slow
def test_masks_are_those_of_the_frames_as_images(main, capsys, tmp_path, checkpoint):
    clip = write_clip(tmp_path / "clip.mp4", frames=4, rotation=90)
    images = frames_as_images(clip, tmp_path / "frames")
    out, segmenter = tmp_path / "out", segment.load(checkpoint)
    main("predict", f"checkpoint={checkpoint}", f"input={clip}", f"output={out}")
    for image in images.iterdir():
        expected = segmenter.predict(image).mask
        assert (np.asarray(Image.open(out / "clip" / image.name)) == expected).all(), image
    expected = np.asarray(segmenter.predict(images / "000002.png").overlay())
    found = np.rot90(stored(out / "clip_overlay.mp4")[1])
    assert np.abs(found.astype(int) - expected).mean() < 12
    (out / "clip" / "000003.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in (out / "clip").glob("*.png")}
    capsys.readouterr()
    main("predict", f"checkpoint={checkpoint}", f"input={clip}", f"output={out}")
    assert "1 frames segmented, 3 had their masks already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.slow
def test_a_table_of_images_and_videos(main, capsys, tmp_path, checkpoint):
    folder = tmp_path / "in"
    folder.mkdir()
    clip = write_clip(folder / "clip.mp4", frames=3)
    images = frames_as_images(clip, tmp_path / "frames")
    shutil.copy(images / "000001.png", folder / "a.png")
    arguments = ["effect=alert", "classes=[disc,square]", "effect.polygon=[[0,0],[20,0],[20,20]]", f"input={folder}"]
    for _ in range(2):  # the second time the rows are taken from the disk
        main("apply", *arguments, f"checkpoint={checkpoint}", f"output={folder}")
        with (folder / "alert.csv").open() as file:
            rows = list(csv.DictReader(file))
        segmenter = segment.load(checkpoint)
        chosen = [segmenter.classes.names.index(name) for name in ("disc", "square")]
        for row, image in zip(rows, ["000001", "000001", "000002", "000003"], strict=True):
            found = segmenter.predict(images / f"{image}.png")
            share = alert(found.image, found.mask, chosen, [[0, 0], [20, 0], [20, 20]]).share
            assert float(row["share"]) == share
        assert [row["frame"] for row in rows] == ["", "1", "2", "3"]
        assert float(rows[2]["time"]) == pytest.approx(1001 / 30000, abs=1e-6)


@pytest.mark.slow
def test_effects_on_a_video(main, capsys, tmp_path, checkpoint):
    clip = write_clip(tmp_path / "clip.mp4", audio="aac")
    arguments = [f"checkpoint={checkpoint}", f"input={clip}", f"output={tmp_path / 'o'}", "classes=[square]"]
    for _ in range(2):
        main("predict", *arguments[:3])
    assert "1 of 1 videos were done already" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "o")
    main("apply", "effect=recolour", "effect.colour=red", *arguments)
    segmenter = segment.load(checkpoint)
    chosen = [segmenter.classes.names.index("square")]
    for before, after in zip(stored(clip), stored(tmp_path / "o" / "clip.mp4"), strict=True):
        expected = recolour(before, segmenter.predict(before).mask, chosen, "red")
        assert np.abs(expected.astype(int) - after).mean() < 12
    assert audio_of(tmp_path / "o" / "clip.mp4")[0] == "aac"
    main("apply", "effect=cutout", "effect.feather=2", "smooth=0.5", *arguments)
    capsys.readouterr()
    main("apply", "effect=cutout", "effect.feather=2", "smooth=0.5", *arguments)
    assert "0 videos written, 1 existed already" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "o").glob("*.*4")) == ["clip.mp4"]
    (tmp_path / "o" / "clip.webm").write_bytes(b"")  # another program has emptied it, under a name of ours
    main("apply", "effect=cutout", "effect.feather=2", "smooth=0.5", *arguments)
    assert len(decoded(tmp_path / "o" / "clip.webm")) == 12


@pytest.mark.slow
def test_a_camera_until_ctrl_c(main, capsys, tmp_path, checkpoint, monkeypatch):
    clip = write_clip(tmp_path / "clip.mkv", frames=20)
    opened, real = av.open, video_loop.process_frames
    monkeypatch.setattr(
        av,
        "open",
        lambda name, *rest, **options: (
            opened(str(clip) if "dev/video" in str(name) else name, *rest)
            if "v4l2" in options.values()
            else opened(name, *rest, **options)
        ),
    )

    def stopping(source, files, origin, draw):
        def stop(frame):
            if frame.number == 6:
                raise KeyboardInterrupt
            return draw(frame)

        return real(source, files, origin, stop)

    monkeypatch.setattr(video_loop, "process_frames", stopping)
    main("predict", f"checkpoint={checkpoint}", "input=camera:0", f"output={tmp_path / 'o'}")
    [video] = (tmp_path / "o").glob("camera0_*_overlay.mp4")
    assert len(decoded(video)) == 5
    [folder] = [path for path in (tmp_path / "o").iterdir() if path.is_dir()]
    assert len(list(folder.glob("*.png"))) >= 5
    assert "Ctrl-C ends the recording" in capsys.readouterr().out


def resident_megabytes() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


LONG = {
    "turned.mp4": {"rotation": 270, "audio": "aac", "times": [i * 33 + i * i % 17 for i in range(150)]},
    "mpeg4.avi": {"codec": "mpeg4", "audio": "mp3"},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": "libopus", "size": (97, 65)},
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("name", LONG)
def test_150_frames(main, tmp_path, checkpoint, monkeypatch, name):
    clip = write_clip(tmp_path / name, frames=150, **{"size": (96, 64), **LONG[name]})
    used, real = {}, video_loop.process_frames

    def measured(source, files, origin, draw):
        def note(frame):
            used[frame.number] = resident_megabytes()
            return draw(frame)

        return real(source, files, origin, note)

    monkeypatch.setattr(video_loop, "process_frames", measured)
    main("predict", f"checkpoint={checkpoint}", f"input={clip}", f"output={tmp_path / 'o'}", "json=false")
    assert len(used) == 150
    assert max(used.values()) - used[50] < 100
    out = tmp_path / "o" / f"{clip.stem}_overlay.mp4"
    before, after = decoded(clip), decoded(out)
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=1e-6)
    assert (after[0].width, after[0].height, after[0].rotation) == (
        before[0].width,
        before[0].height,
        before[0].rotation,
    )
    if LONG[name].get("audio"):
        assert [content for _, content in audio_of(out)[1]] == [content for _, content in audio_of(clip)[1]]
    images, segmenter = frames_as_images(clip, tmp_path / "frames"), segment.load(checkpoint)
    names, masks = [f"{number:06d}.png" for number in range(1, 151)], tmp_path / "o" / clip.stem
    assert sorted(path.name for path in masks.glob("*.png")) == names
    for name in names[::7]:
        assert (np.asarray(Image.open(masks / name)) == segmenter.predict(images / name).mask).all(), name
