"""Videos that are written: H.264 in MP4, or VP9 with opacity in WebM, with the audio of the video they come from."""

from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

import numpy as np

from segment.errors import SegmentError
from segment.prediction.video import VideoFrame, VideoReader

CODECS = {
    "libx264": {"crf": "18", "preset": "veryfast"},  # few frames are held back, so that memory stays small
    "libvpx-vp9": {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "5", "lag-in-frames": "16"},
}
"""Encoders and their options: the quality is one at which a difference is hardly visible."""
COPIED_AUDIO = {"mp4": {"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"}, "webm": {"opus", "vorbis"}}
"""Codecs of audio that players expect in a kind of file; others are encoded anew."""
ENCODED_AUDIO = {"mp4": "aac", "webm": "libopus"}
"""Encoder of audio for each kind of file."""
FRAME_DURATION = 1 << 8
"""FFmpeg's flag AV_CODEC_FLAG_FRAME_DURATION: the duration of frames is kept, the last one's too."""
AUDIO_RATE = 48_000
"""Samples per second of audio that is encoded anew; Opus takes few others."""


class VideoWriter:
    """A video with the time stamps, size, rotation, colours and audio of another one.

    Frames of an odd width or height, which H.264 does not take, are VP9. Audio is copied if the file can hold it, and
    is encoded anew otherwise. A WebM has no rotation in its metadata: its frames are upright.

    Args:
        file: open binary file.
        reader: the video that the pictures come from.
        has_alpha: write a WebM with opacity, from pictures uint8 (H,W,4).
        comment: text in the file's metadata.
    """

    def __init__(self, file: IO[bytes], reader: VideoReader, has_alpha: bool, comment: str) -> None:
        self.reader, self._av = reader, reader.av
        self._turns = 0 if has_alpha else reader.turns
        self._picture_format, self._stored_format = ("rgba", "yuva420p") if has_alpha else ("rgb24", "yuv420p")
        # The start of a stream is counted in units of the movie, which are milliseconds by default.
        options = {} if has_alpha else {"movie_timescale": str(reader.time_base.denominator)}
        self._format = "webm" if has_alpha else "mp4"
        self._container = self._av.open(file, "w", format=self._format, options=options)
        self._container.metadata["comment"] = comment
        self._stream = self._add_video(has_alpha)
        self._audio = {stream.index: self._add_audio(stream) for stream in reader.audio}

    def _add_video(self, has_alpha: bool) -> Any:
        reader, first = self.reader, self.reader.first
        size = (reader.width, reader.height)
        if has_alpha and reader.turns % 2:
            size = size[::-1]
        codec = "libvpx-vp9" if has_alpha or size[0] % 2 or size[1] % 2 else "libx264"
        # RGB that is stored as such has no matrix; 2 is "unspecified".
        self._colorspace = first.colorspace or 2
        self._range = first.color_range if first.color_range or not first.format.is_rgb else 1
        options = dict(CODECS[codec])
        if codec == "libx264" and self._range == 1:
            options["x264-params"] = "videoformat=component"  # else x264 does not write that the range is limited
        stream = self._container.add_stream(codec, rate=reader.rate, options=options)
        context = stream.codec_context
        stream.width, stream.height = size
        stream.pix_fmt, context.time_base = self._stored_format, reader.time_base
        context.flags |= FRAME_DURATION
        context.color_range, context.colorspace = self._range, self._colorspace
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        if (ratio := reader.stream.sample_aspect_ratio) and ratio != 1:
            context.sample_aspect_ratio = 1 / ratio if has_alpha and reader.turns % 2 else ratio
        if self._turns:
            stream.set_display_rotation(90 * self._turns)
        return stream

    def _add_audio(self, stream: Any) -> tuple[Any, bool]:
        """Return an output stream, and whether packets are encoded anew for it."""
        if stream.codec.canonical_name in COPIED_AUDIO[self._format]:
            return self._container.add_stream_from_template(stream), False
        layout = "stereo" if stream.channels > 1 else "mono"
        return self._container.add_stream(ENCODED_AUDIO[self._format], rate=AUDIO_RATE, layout=layout), True

    def notes(self) -> Iterator[str]:
        """Yield what a user should know about the video."""
        for stream in self.reader.audio:
            output, is_encoded = self._audio[stream.index]
            if is_encoded:
                name, found = output.codec.canonical_name, stream.codec.canonical_name
                yield f"{self.reader.source}: its {found} audio is encoded as {name}, which {self._format} files hold"

    def write(self, picture: np.ndarray, frame: VideoFrame) -> None:
        """Write a picture uint8 (H,W,3), or (H,W,4) with opacity, at the time of a frame."""
        stored = np.ascontiguousarray(np.rot90(picture, -self._turns))
        image = self._av.VideoFrame.from_ndarray(stored, self._picture_format).reformat(
            format=self._stored_format,
            dst_colorspace=self._colorspace,
            dst_color_range=self._range,
            interpolation="AREA",
        )
        image.colorspace, image.color_range = self._colorspace, self._range
        image.pts, image.time_base, image.duration = frame.pts, self.reader.time_base, frame.duration
        self._encode(self._stream, image)

    def add_audio(self, packet: Any) -> None:
        """Copy a packet of audio, or encode it anew."""
        output, is_encoded = self._audio[packet.stream.index]
        if packet.is_corrupt:  # the last one of a file that is cut off
            return
        if not is_encoded:
            if packet.dts is not None:  # the mark of the stream's end has none
                packet.stream = output
                self._mux([packet])
            return
        try:
            frames = packet.decode()
        except self._av.error.InvalidDataError:
            return
        for frame in frames:
            self._encode(output, frame)

    def _encode(self, stream: Any, frame: Any) -> None:
        """Encode and write a frame, or what the encoder still holds for None."""
        try:
            packets = stream.encode(frame)
        except self._av.error.FFmpegError as error:
            name = stream.codec_context.codec.name
            raise SegmentError(f"{self.reader.source}: {name} cannot encode it: {error.strerror}") from None
        self._mux(packets)

    def _mux(self, packets: Any) -> None:
        try:
            self._container.mux(packets)
        except self._av.error.ArgumentError as error:
            raise SegmentError(f"{self.reader.source}: time stamps that cannot be written: {error.strerror}") from None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(Exception):  # the file is lost, and the error that came first has the reason
                self._container.close()
            return
        try:
            for output, is_encoded in [(self._stream, True), *self._audio.values()]:
                if is_encoded:
                    self._encode(output, None)
        finally:
            self._container.close()
