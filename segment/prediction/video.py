"""Videos and cameras, read frame by frame beside their audio. PyAV does it, which brings its own FFmpeg."""

import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from segment.errors import SegmentError
from segment.prediction.video_end import ending

NO_INDEX = "it has no index, since it was cut off or not closed, and nothing of it can be read"
HDR = {16, 18}
"""Transfer functions of HDR, PQ and HLG, as ISO/IEC 23091-2 numbers them."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: counts the frames from 1.
        image: uint8 (H,W,3) RGB, upright.
        pts: time in units of the reader's ``time_base``; it grows from frame to frame.
        duration: in the same units; 0 if it is not known.
        time: time in seconds.
    """

    number: int
    image: np.ndarray
    pts: int
    duration: int
    time: float


def import_av(name: object) -> Any:
    """Return PyAV.

    Args:
        name: the video or camera that an error message names.

    Raises:
        SegmentError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise SegmentError(f"{name}: a video or camera needs PyAV: pip install 'segment-lightning[video]'") from None
    return av


def open_video(path: Path) -> Any:
    """Open a video with PyAV. A name such as ``a:b.mp4`` is no address, and a playlist reads nothing from a network."""
    return import_av(path).open(str(path.absolute()), options={"protocol_whitelist": "file"})


def is_camera(source: Path) -> bool:
    """Return whether an input is a camera, such as ``camera:0``."""
    return re.fullmatch(r"camera:\d+", str(source)) is not None


class VideoReader:
    """A video, or a camera such as ``camera:0``, that is read once, frame by frame.

    Args:
        source: path of the video, or the camera.

    Attributes:
        width, height: size of the stored frames, in pixels.
        turns: quarter turns counterclockwise that make them upright.
        time_base: length of a unit of time, in seconds.
        rate: average number of frames per second.
        audio: audio streams of PyAV.
        count: number of frames that were read.

    Raises:
        SegmentError: there is no such camera, or the video cannot be read.
    """

    def __init__(self, source: Path) -> None:
        self.av, self.source, self.count, self.damaged = import_av(source), source, 0, 0
        self._error = ""
        self._container = self._open()
        try:
            self._read_header()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container.close()

    def _open(self) -> Any:
        try:
            if not is_camera(self.source):
                return open_video(self.source)
            number, options = str(self.source).partition(":")[2], {"framerate": "30"}
            if sys.platform == "darwin":
                return self.av.open(number, format="avfoundation", options=options)
            return self.av.open(f"/dev/video{number}", format="v4l2", options=options)
        except (self.av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if is_camera(self.source):
                raise SegmentError(f"{self.source}: the camera cannot be opened: {reason}") from None
            raise self._unreadable(reason) from None

    def _read_header(self) -> None:
        """Read up to the first frame, since frames alone know their rotation."""
        streams = [stream for stream in self._container.streams.video if not stream.disposition & 1024]  # a cover
        if not streams:
            raise self._unreadable("it has no video stream")
        self.stream = streams[0]
        if not self.stream.codec_context:
            raise self._unreadable("FFmpeg does not know its codec")
        self.audio = [stream for stream in self._container.streams.audio if stream.codec_context]
        size, limit = (self.stream.width, self.stream.height), Image.MAX_IMAGE_PIXELS
        if limit is not None and size[0] * size[1] > 2 * limit:
            pixels = f"{size[0]}x{size[1]} pixels"
            raise SegmentError(f"{self.source}: its frames of {pixels} need more than inference.max_memory")
        early, events = [], self._events()
        for event in events:
            early.append(event)
            if isinstance(event, self.av.VideoFrame):
                break
        else:
            raise self._unreadable(self._error or "it has no frame that can be decoded")
        self.first = early[-1]
        self._rest = chain(early, events)
        self.width, self.height = self.first.width, self.first.height
        self.turns = round(self.first.rotation / 90) % 4
        self.time_base = self.stream.time_base
        self.rate = self.stream.average_rate or self.stream.guessed_rate or 25

    def _unreadable(self, reason: str) -> SegmentError:
        if self.source.is_file() and (end := ending(self.source)) in {"no index", "cut off"}:
            reason = "it is cut off, and what is left has no frame" if end == "cut off" else NO_INDEX
        return SegmentError(f"cannot read the video {self.source}: {reason}")

    def _events(self) -> Iterator[Any]:
        """Yield PyAV's frames and packets of audio, in the order of the file."""
        try:
            for packet in self._container.demux([self.stream, *self.audio]):
                if packet.stream.type == "audio":
                    yield packet
                    continue
                try:  # a packet without dts may be one of the last, which release frames
                    frames = packet.decode()
                except self.av.error.InvalidDataError:
                    self.damaged += 1
                    continue
                yield from frames
        except self.av.error.FFmpegError as error:
            self._error = error.strerror or str(error)

    def read(self) -> Iterator[Any]:
        """Yield each frame as :class:`VideoFrame`, and between them PyAV's packets of audio.

        Raises:
            SegmentError: the size changes within the video.
        """
        last, step = None, max(1, round(1 / self.rate / self.time_base))
        start = (self.first.pts or 0) if is_camera(self.source) else 0  # a camera's time is that of the machine
        for event in self._rest:
            if not isinstance(event, self.av.VideoFrame):
                yield event
                continue
            if (event.width, event.height) != (self.width, self.height):
                size = f"{event.width}x{event.height}, and those before {self.width}x{self.height}"
                raise SegmentError(f"{self.source}: frame {self.count + 1} is {size}")
            pts = None if event.pts is None else event.pts - start
            if last is not None and (pts is None or pts <= last):
                pts = last + step
            last = pts or 0
            self.count += 1
            image = np.ascontiguousarray(np.rot90(event.to_ndarray(format="rgb24"), self.turns))
            yield VideoFrame(self.count, image, last, event.duration or 0, float(last * self.time_base))

    def expected_frames(self) -> int | None:
        """Return the number of frames that the header announces, roughly; None if it does not."""
        length = self._container.duration
        return self.stream.frames or (round(length / 1_000_000 * float(self.rate)) if length else None) or None

    def first_notes(self) -> Iterator[str]:
        """Yield what a user should know before the work."""
        bits = max(component.bits for component in self.first.format.components)
        if bits > 8:
            hdr = ", and HDR is not tone-mapped" if self.first.color_trc in HDR else ""
            yield f"{self.source} has {bits} bits a value: it is read, and written, with 8 bits{hdr}"

    def last_notes(self) -> Iterator[str]:
        """Yield what a user should know about a video that was read to its end."""
        end = "" if is_camera(self.source) else ending(self.source)
        if end == "cut off":
            yield f"{self.source} is cut off: the {self.count} frames that it has were read"
        elif self._error:
            yield f"{self.source}: {self.count} frames were read, the rest cannot be: {self._error}"
        elif self.damaged:
            yield f"{self.source}: {self.count} frames were read, {self.damaged} damaged packets were left out"
        elif end == "open":
            yield f"{self.source} has no end mark, so it was streamed or cut off: {self.count} frames were read"
