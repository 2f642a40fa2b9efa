"""The loop over the frames of a video: each is read, drawn upon and written, and the audio goes along."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from segment.files import printable, whole_file
from segment.prediction.video import VideoFrame, VideoReader, is_camera
from segment.prediction.video_files import VideoFiles, origin_comment
from segment.prediction.video_writer import VideoWriter


def process_frames(
    source: Path, files: VideoFiles, origin: str, draw: Callable[[VideoFrame], np.ndarray | None]
) -> int:
    """Process each frame of a video, or of a camera until Ctrl-C, and write a video if ``files`` has one.

    The video is moved into place when it is complete.

    Args:
        source: path of the video, or a camera.
        files: where the video is written.
        origin: everything that the result depends on.
        draw: returns the picture of a frame, uint8 (H,W,3), or (H,W,4) for a WebM; None if there is no video.

    Returns:
        The number of frames.

    Raises:
        SegmentError: the video cannot be read.
        OSError: a file cannot be written.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    with VideoReader(source) as reader, ExitStack() as stack:
        writer, notes = None, [*reader.first_notes()]
        if files.suffixes:
            files.record_names(files.suffixes)
            file = stack.enter_context(whole_file(files.path(files.suffixes[0]), "wb"))
            is_webm = files.suffixes[0].endswith(".webm")
            writer = stack.enter_context(VideoWriter(file, reader, is_webm, origin_comment(origin)))
            notes += writer.notes()
        if is_camera(source):
            notes.append(f"{source}: Ctrl-C ends the recording")
        for note in notes:
            print(f"note: {printable(note)}", flush=True)
        try:
            for event in track(reader.read(), "segmenting", total=reader.expected_frames(), console=console):
                if not isinstance(event, VideoFrame):
                    if writer:
                        writer.add_audio(event)
                elif (picture := draw(event)) is not None and writer:
                    writer.write(picture, event)
        except KeyboardInterrupt:
            if not is_camera(source):
                raise
    for note in reader.last_notes():
        print(f"note: {printable(note)}")
    return reader.count
