"""Short videos for tests, drawn and encoded on the fly."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra video")

NTSC = Fraction(30000, 1001)


def scene(number: int, size: tuple[int, int]) -> np.ndarray:
    """Draw a frame, uint8 (H,W,3): a red disc that moves over a gradient, and a white mark in the upper left corner."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 60)], 2).astype(np.uint8)
    image[(x - 3 * number % width) ** 2 + (y - height // 2) ** 2 < (height // 5) ** 2] = (230, 40, 40)
    image[: height // 8, : width // 8] = 255
    return image


def write_clip(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (32, 24),
    codec: str = "libx264",
    audio: str | None = None,
    times: list[int] | None = None,
    rotation: int = 0,
    pixels: str = "yuv420p",
    start: int = 0,
    options: dict[str, str] | None = None,
    **colours: Any,
) -> Path:
    """Write a clip of 29.97 frames per second, or with time stamps ``times`` in milliseconds.

    Args:
        start: number of frames that the clip begins late by.
        options: options of the file.
        colours: colour attributes of the codec.
    """
    with av.open(str(path), "w", options=options or {}) as out:
        stream = out.add_stream(codec, rate=NTSC)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / NTSC
        stream.codec_context.gop_size = 6
        for name, value in colours.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        sound = out.add_stream(audio, rate=48000, layout="stereo") if audio else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(number, size), "rgb24").reformat(
                format=pixels,
                dst_colorspace=colours.get("colorspace"),
                dst_color_range=colours.get("color_range"),
            )
            frame.pts = times[number] if times else start + number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
            if sound:
                out.mux(sound.encode(tone(number)))
        for one in [stream, sound] if sound else [stream]:
            out.mux(one.encode(None))
    return path


def tone(number: int, samples: int = 1602) -> Any:
    """Return the audio of a frame's time."""
    wave = np.sin(np.arange(number * samples, (number + 1) * samples) * 2 * np.pi * 440 / 48000) * 8000
    frame = av.AudioFrame.from_ndarray(np.repeat(wave.astype(np.int16), 2)[None], "s16", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * samples, Fraction(1, 48000)
    return frame


def decoded(path: Path) -> list[Any]:
    """Return the frames of a video, as PyAV decodes them."""
    with av.open(str(path)) as video:
        return list(video.decode(video=0))


def stored(path: Path) -> list[np.ndarray]:
    """Return the frames of a video, uint8 (H,W,3), without its rotation."""
    return [frame.to_ndarray(format="rgb24") for frame in decoded(path)]


def audio_of(path: Path) -> tuple[str, list[tuple[float, bytes]]]:
    """Return the codec of a video's audio, and time and content of its packets."""
    with av.open(str(path)) as video:
        packets = [(float(one.pts * one.time_base), bytes(one)) for one in video.demux(audio=0) if one.dts is not None]
        return video.streams.audio[0].codec.canonical_name, packets
