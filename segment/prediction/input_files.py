"""The images that ``segment.predict`` reads: one file, those of a folder, or the matches of a pattern."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from segment.data.images import IMAGE_SUFFIXES
from segment.errors import SegmentError
from segment.files import kind, walk


def find_images(source: Path, output: Path) -> tuple[list[Path], Path]:
    """Return the images and the folder that contains them all.

    Args:
        source: an image, a folder with images directly in it, or a pattern such as ``photos/**/*.jpg``.
        output: folder for the masks. Images in it are left out, since they are masks of an earlier run.

    Raises:
        SegmentError: there is no image, or ``output`` is the folder of the images.
        OSError: a folder cannot be read.
    """
    if source.is_file():
        return [source], source.parent
    suffixes = IMAGE_SUFFIXES | {".gif"}
    if source.is_dir():
        paths = {*source.iterdir()}
        problem = f"no image in this folder ({', '.join(sorted(suffixes))}); "
        problem += f"'input={source}/**/*' searches the folders below, too"
    elif glob.has_magic(str(source)):
        paths, problem = {*matches(source)}, "no image matches"
        suffixes |= {source.suffix.lower()} - {""}  # *.xyz says that such files are images
    else:
        is_there = os.path.lexists(source)
        problem = f"it is {kind(source)}, expected a file or folder" if is_there else "no such file or folder"
        raise SegmentError(f"input={source}: {problem}")
    images = [path for path in paths if path.suffix.lower() in suffixes and path.name[0] != "." and not path.is_dir()]
    base = Path(os.path.commonpath([path.parent for path in images] or [source]))
    target = os.path.realpath(output)  # Path.resolve raises an error for links that form a circle
    if os.path.realpath(base) == target:
        raise SegmentError(f"output={output} is the folder of the images: choose another, since masks are images, too")
    images = sorted(path for path in images if not Path(os.path.realpath(path)).is_relative_to(target))
    if not images:
        raise SegmentError(f"input={source}: {problem}")
    return images, base


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
