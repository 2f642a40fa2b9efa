"""The loop of ``segment.predict`` and ``segment.apply`` over their inputs: a broken one is a line, the rest is done."""

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from segment.data.images import Reading
from segment.errors import SegmentError
from segment.files import kind, printable
from segment.prediction.input_files import is_video
from segment.prediction.output_files import OutputFiles
from segment.prediction.video import is_camera

Files = TypeVar("Files", bound=OutputFiles)

NO_BANDS = {".jpg", ".jpeg", ".bmp"}
"""Suffixes of images that have neither further bands nor frames, so that their headers need not be read."""


def limit_image_size(max_memory: float | None) -> None:
    """Make PIL refuse images whose pixels alone take more than ``max_memory`` GiB, when it reads their header."""
    from PIL import Image

    from segment.prediction.inference import KEPT_BYTES

    # PIL refuses images of twice this number of pixels.
    Image.MAX_IMAGE_PIXELS = None if max_memory is None else int(max_memory * 2**30 / KEPT_BYTES / 2)


def note_bands(paths: Iterable[Path], reading: Reading) -> None:
    """Print a note if images have bands or frames that the net does not see."""
    from segment.data.consistency import header_notes
    from segment.data.pairs import PairHeaders, Sample, read_headers

    samples = [Sample(path.stem, path, None) for path in paths if path.suffix.lower() not in NO_BANDS]
    headers = {sample: read_headers(sample) for sample in samples}
    found = {sample: pair for sample, pair in headers.items() if isinstance(pair, PairHeaders)}
    for note in header_notes(found, reading):
        print(f"note: {printable(note.message)}")


def process_inputs(
    plan: Mapping[Path, Files],
    origin: str,
    process: Callable[[Path, Files, str], None],
    is_complete: Callable[[Path, Files, str], bool] = lambda _, files, origin: files.are_complete(origin),
    progress: bool = True,
) -> tuple[int, int]:
    """Process all images, or all videos, that are not complete yet; print why others are skipped.

    Args:
        plan: output files of each input.
        origin: everything but the input that a result depends on, in one line.
        process: given an input, its files and its origin, does the work.
        is_complete: given the same, returns whether there is nothing to do; by default whether the files say so.
        progress: show a bar.

    Returns:
        Number of inputs that were processed, and of those that were complete before.

    Raises:
        SegmentError: the disk is full or cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    console, new, existing = Console(stderr=True, soft_wrap=True, highlight=False, markup=False), 0, 0
    for path, files in track(list(plan.items()), "segmenting", console=console, disable=not (plan and progress)):
        try:
            if not path.is_file() and not is_camera(path):
                name = "video" if is_video(path) else "image"
                raise SegmentError(f"cannot read the {name} {path}: it is {kind(path)}, not a file")
            own = "" if is_camera(path) else f" {path.stat().st_size} {path.stat().st_mtime_ns}"
            if is_complete(path, files, origin + own):
                existing += 1
                continue
            process(path, files, origin + own)
            new += 1
        except (SegmentError, OSError, RuntimeError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                raise SegmentError(f"cannot write {error.filename}: {error.strerror}") from None
            reason = str(error) or type(error).__name__
            if not isinstance(error, SegmentError):  # an error of torch continues with a stack trace
                reason = reason.splitlines()[0]
            if str(path) not in reason:
                reason = f"{path}: {reason}"
            console.print(f"skipped: {printable(reason)}", style="yellow")
    return new, existing
