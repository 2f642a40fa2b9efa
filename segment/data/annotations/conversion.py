"""Conversion of images and their objects into a folder of another format; it can be continued."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from segment.data.annotations.outline_writers import COCOWriter, LabelMeWriter
from segment.data.annotations.scenes import Picture
from segment.data.annotations.writers import CVATWriter, MasksWriter, VOCWriter, Writer
from segment.data.images import read_failure
from segment.errors import SegmentError
from segment.files import clear_parts_below, whole_file

WRITERS: dict[str, type[Writer]] = {
    "voc": VOCWriter, "masks": MasksWriter, "coco": COCOWriter, "labelme": LabelMeWriter, "cvat": CVATWriter,
}  # fmt: skip
"""Writer of each format."""
RECORD = ".segment_convert.json"
"""File in a folder that was converted into, with the settings of the conversion."""
UNFINISHED = ".segment_unfinished"
"""File that is there from the first new image on until the files of all images are written."""


def claim_folder(output: Path, settings: dict[str, Any]) -> None:
    """Make the folder of a conversion, and record the settings in it.

    Raises:
        SegmentError: it has other files, or a conversion with other settings.
    """
    try:
        record = output / RECORD
        if record.is_file():
            if json.loads(record.read_text("utf-8")) != settings:
                raise SegmentError(f"{output} was converted with other settings: choose another folder")
            return
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise SegmentError(f"{output} exists and is no folder of an earlier conversion: choose another")
        with whole_file(record, encoding="utf-8") as file:
            json.dump(settings, file)
    except (OSError, ValueError) as error:
        raise SegmentError(f"cannot use the folder {output}: {getattr(error, 'strerror', None) or error}") from None


def convert_pictures(
    pictures: Sequence[Picture],
    writer: Writer,
    report: Callable[[str], None],
    progress: Callable[[Sequence[Picture]], Iterable[Picture]] = iter,
) -> tuple[int, int]:
    """Write all pictures that are not complete yet, and report why others are skipped.

    The files of all pictures are written again after a new picture. Without one, those that are missing are written, as
    they may be after an interruption.

    Args:
        report: gets a line for each picture that is skipped.
        progress: wraps the pictures, as ``rich.progress.track`` does.

    Returns:
        Number of pictures that were written, and of those that had been written before.

    Raises:
        SegmentError: two pictures have one name, a file of all lacks one, or the disk cannot be written.
    """
    twice = [name for name, count in Counter(picture.name for picture in pictures).items() if count > 1]
    if twice:
        raise SegmentError(f"several images would be written as {twice[0]}: rename them")
    existing: list[Picture] = []
    new: list[Picture] = []
    for picture in pictures:
        (existing if writer.is_complete(picture) else new).append(picture)
    marker = writer.output / UNFINISHED
    changed = marker.exists()
    if changed:
        clear_parts_below(writer.output)
    written = []
    try:
        if new:
            with whole_file(marker):
                pass
        for picture in progress(new):
            try:
                writer.write(picture, picture.scene())
                written.append(picture)
            except SegmentError as error:
                report(str(error))
            except OSError as error:
                if error.errno is not None:  # of the disk; PIL's errors have no number
                    raise
                report(f"cannot read the image {picture.image}: {read_failure(error)}")
        if complete := sorted([*existing, *written], key=lambda picture: picture.name):
            writer.finish(complete, changed or bool(written))
        if new or changed:
            marker.unlink(missing_ok=True)  # another process may write into the folder, too
    except OSError as error:
        raise SegmentError(f"cannot write {error.filename or writer.output}: {error.strerror}") from None
    return len(written), len(existing)
