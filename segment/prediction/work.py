"""The work of ``segment.predict`` and ``segment.apply``: their inputs, each with the files that are written for it."""

from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from segment.errors import SegmentError
from segment.prediction.image_loop import limit_image_size
from segment.prediction.input_files import find_inputs, is_video
from segment.prediction.output_files import OutputFiles, output_stems, prepare_folder
from segment.prediction.video import import_av, is_camera
from segment.prediction.video_files import VideoFiles


class Work(NamedTuple):
    """The images and the videos, with their output files."""

    images: dict[Path, OutputFiles]
    videos: dict[Path, VideoFiles]

    def require_all(self, done: int, verb: str) -> None:
        """Check that all inputs were processed.

        Raises:
            SegmentError: some were not.
        """
        count = len(self.images) + len(self.videos)
        if failed := count - done:
            names = "inputs" if self.videos else "images"
            raise SegmentError(f"{failed} of {count} {names} could not be {verb}, see the lines above")


def plan_work(
    source: Path,
    output: Path,
    max_memory: float | None,
    command: str,
    extras: Sequence[str] = (),
    video_suffix: str | None = None,
    is_table: bool = False,
) -> Work:
    """Find the inputs, check that nothing would be overwritten, and create the folder ``output``.

    Args:
        source: an image, a video, a camera such as ``camera:0``, a folder or a pattern.
        output: folder of the files.
        max_memory: GiB; larger images are refused when their header is read.
        command: the command that writes the files.
        extras: suffixes of the extras beside each mask.
        video_suffix: suffix of the video that is written; None for no video.
        is_table: one table is written, and no file for an image or a video.

    Raises:
        SegmentError: there is no input, a file would be overwritten, or a folder cannot be used.
    """
    limit_image_size(max_memory)
    try:
        paths, base = find_inputs(source, output, not is_table)
        images, videos = [path for path in paths if not is_video(path)], readable_videos(paths)
        image_stems = output_stems(images, base, output)
        folders = [folder for path in paths for folder in path.relative_to(base).parents]
        video_stems = output_stems(videos, base, output, folders)
        work = Work(
            {path: OutputFiles(stem, [*extras], command) for path, stem in image_stems.items()},
            {path: VideoFiles(dated(stem), [*extras], command, video_suffix) for path, stem in video_stems.items()},
        )
        prepare_folder(output, {} if is_table else {**work.images, **work.videos})
    except OSError as error:
        raise SegmentError(f"{error.filename}: {error.strerror}") from None
    if images and videos:
        print(f"note: {len(images)} images and {len(videos)} videos: each is processed")
    return work


def readable_videos(paths: Sequence[Path]) -> list[Path]:
    """Return the videos among inputs. Without PyAV those beside images are left out, which a note says.

    Raises:
        SegmentError: PyAV is not installed, and there are no images.
    """
    videos = [path for path in paths if is_video(path)]
    if videos and len(videos) < len(paths) and find_spec("av") is None:
        print(f"note: {len(videos)} videos are left out: they need PyAV, pip install 'segment-lightning[video]'")
        return []
    if videos:
        import_av(videos[0])
    return videos


def dated(stem: Path) -> Path:
    """Return the path without suffix of a recording: that of a camera has the time, so that no other is overwritten."""
    if not is_camera(Path(stem.name)):
        return stem
    return stem.with_name(f"{stem.name.replace(':', '')}_{datetime.now():%Y%m%d-%H%M%S}")
