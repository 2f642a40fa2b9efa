"""The images and videos that a command reads: one file, those of a folder, or the matches of a pattern."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from segment.data.images import IMAGE_SUFFIXES
from segment.errors import SegmentError
from segment.files import kind, walk
from segment.prediction.video import is_camera

VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"}
VIDEO_SUFFIXES |= {".ts", ".vob", ".webm", ".wmv", ".y4m"}


def is_video(path: Path) -> bool:
    """Return whether an input is a video, by its suffix, or a camera such as ``camera:0``."""
    return path.suffix.lower() in VIDEO_SUFFIXES or is_camera(path)


def find_inputs(source: Path, output: Path, writes_images: bool = True) -> tuple[list[Path], Path]:
    """Return the images and videos, and the folder that contains them all.

    Args:
        source: a file, a folder with files directly in it, or a pattern such as ``photos/**/*.jpg``.
        output: folder for what is written. Images in it are left out, since they are masks of an earlier run.
        writes_images: images are written. Otherwise ``output`` may be the folder of the images.

    Raises:
        SegmentError: there is no image, or ``output`` is the folder of the images.
        OSError: a folder cannot be read.
    """
    if is_camera(source):
        return [source], source.parent
    if source.is_file():
        return [source], source.parent
    suffixes = IMAGE_SUFFIXES | {".gif"} | VIDEO_SUFFIXES
    if source.is_dir():
        paths = {*source.iterdir()}
        problem = f"no image or video in this folder ({', '.join(sorted(suffixes))}); "
        problem += f"'input={source}/**/*' searches the folders below, too"
    elif glob.has_magic(str(source)):
        paths, problem = {*matches(source)}, "no image or video matches"
        suffixes |= {source.suffix.lower()} - {""}  # *.xyz says that such files are images
    else:
        is_there = os.path.lexists(source)
        problem = f"it is {kind(source)}, expected a file or folder" if is_there else "no such file or folder"
        raise SegmentError(f"input={source}: {problem}")
    images = [path for path in paths if path.suffix.lower() in suffixes and path.name[0] != "." and not path.is_dir()]
    base = Path(os.path.commonpath([path.parent for path in images] or [source]))
    target = os.path.realpath(output)  # Path.resolve raises an error for links that form a circle
    if writes_images and os.path.realpath(base) == target:
        raise SegmentError(f"output={output} is the folder of the images: choose another, since masks are images, too")
    if writes_images or not Path(os.path.realpath(base)).is_relative_to(target):
        images = [path for path in images if not Path(os.path.realpath(path)).is_relative_to(target)]
    if not images:
        raise SegmentError(f"input={source}: {problem}")
    return sorted(images), base


def matches(pattern: Path) -> Iterator[Path]:
    """Yield the matches of a pattern. ``**`` follows links to folders, where glob's own would run in circles."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.iglob(str(pattern)))
        return
    at = pattern.parts.index("**")
    head, rest = Path(*pattern.parts[:at]), pattern.parts[at + 1 :] or ("*",)
    for top in map(Path, glob.iglob(str(head))) if at else [head]:
        for folder, _ in walk(top):
            yield from matches(Path(glob.escape(str(folder)), *rest))
