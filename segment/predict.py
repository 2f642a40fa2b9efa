"""Segment photos: ``python -m segment.predict checkpoint=FILE input=IMAGE_OR_FOLDER_OR_PATTERN output=FOLDER``."""

import errno
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import checkpoint_digest, kind, printable, user_path
from segment.records.folder import checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.classes import Classes
    from segment.data.images import Reading
    from segment.prediction.output_files import OutputFiles
    from segment.prediction.segmenter import Segmenter

NO_BANDS = {".jpg", ".jpeg", ".bmp"}
"""Suffixes of images that have neither further bands nor frames, so that their headers need not be read."""


def predict(config: DictConfig) -> None:
    """Write for each image a palette PNG of class indices, at the image's own size, and the extras that are on.

    Raises:
        SegmentError: a setting is wrong, or some images could not be segmented.
    """
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.input_files import find_images
    from segment.prediction.output_files import EXTRAS, plan_outputs, prepare_folder
    from segment.prediction.segmenter import load_segmenter

    extras = [suffix for suffix, key in EXTRAS.items() if check_value(key, config[key], bool)]
    tolerance = float(check_value("tolerance", config.tolerance, float))
    if config.write not in {None, "labelme", "coco", "cvat"} or not tolerance >= 0:
        raise SegmentError(
            f"expected write=labelme, coco or cvat and tolerance from 0, got {config.write} and {tolerance}"
        )
    inference = instantiate(config.inference)
    limit_image_size(inference.max_memory)
    source, output = (user_path(config[key], key) for key in ("input", "output"))
    try:
        plan = plan_outputs(*find_images(source, output), output, extras)
        prepare_folder(output, plan)
    except OSError as error:
        raise SegmentError(f"{error.filename}: {error.strerror}") from None
    segmenter = load_segmenter(checkpoint, config.device, inference, config.trust)
    origin = f"{checkpoint_digest(checkpoint)} {inference.describe()}"
    note_bands(plan, segmenter.reading)
    new, existing = segment_images(segmenter, plan, origin, config.probabilities)
    if config.write is not None:
        write_annotations(plan, output, segmenter.classes, config.write, tolerance)
    names = ", ".join(f"NAME{suffix}" for suffix in (".png", *extras))
    print(f"{new} image{'s' * (new != 1)} segmented, {existing} had their masks already: {output}/{names}")
    if failed := len(plan) - new - existing:
        raise SegmentError(f"{failed} of {len(plan)} images could not be segmented, see the lines above")


def limit_image_size(max_memory: float | None) -> None:
    """Make PIL refuse images whose pixels alone take more than ``max_memory`` GiB, when it reads their header."""
    from PIL import Image

    from segment.prediction.inference import KEPT_BYTES

    # PIL refuses images of twice this number of pixels.
    Image.MAX_IMAGE_PIXELS = None if max_memory is None else int(max_memory * 2**30 / KEPT_BYTES / 2)


def note_bands(paths: Iterable[Path], reading: "Reading") -> None:
    """Print a note if images have bands or frames that the net does not see."""
    from segment.data.consistency import header_notes
    from segment.data.pairs import PairHeaders, Sample, read_headers

    samples = [Sample(path.stem, path, None) for path in paths if path.suffix.lower() not in NO_BANDS]
    headers = {sample: read_headers(sample) for sample in samples}
    found = {sample: pair for sample, pair in headers.items() if isinstance(pair, PairHeaders)}
    for note in header_notes(found, reading):
        print(f"note: {printable(note.message)}")


def segment_images(
    segmenter: "Segmenter", plan: "Mapping[Path, OutputFiles]", origin: str, probabilities: bool
) -> tuple[int, int]:
    """Segment all images whose files are not complete yet; print why others are skipped.

    Args:
        origin: checkpoint and protocol, on which the masks depend.

    Returns:
        Number of images that were segmented, and of those that had been segmented before.

    Raises:
        SegmentError: the disk is full or cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    console, new, existing = Console(stderr=True, soft_wrap=True, highlight=False, markup=False), 0, 0
    for path, files in track(list(plan.items()), "segmenting", console=console):
        try:
            if not path.is_file():
                raise SegmentError(f"cannot read the image {path}: it is {kind(path)}, not a file")
            image_origin = f"{origin} {path.stat().st_size} {path.stat().st_mtime_ns}"
            if files.are_complete(image_origin):
                existing += 1
                continue
            files.write(segmenter.predict(path, probabilities), path, image_origin)
            new += 1
        except (SegmentError, OSError, RuntimeError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                raise SegmentError(f"cannot write {error.filename}: {error.strerror}") from None
            reason = str(error) or type(error).__name__
            if not isinstance(error, SegmentError):  # an error of torch continues with a stack trace
                reason = f"{path}: {reason.splitlines()[0]}"
            console.print(f"skipped: {printable(reason)}", style="yellow")
    return new, existing


def write_annotations(
    plan: "Mapping[Path, OutputFiles]", output: Path, classes: "Classes", name: str, tolerance: float
) -> None:
    """Write the predicted masks as annotations that a tool opens, into a folder of that name; corrected files are kept.

    Raises:
        SegmentError: the folder belongs to other predictions, or cannot be written.
    """
    from segment.data.annotations.conversion import WRITERS, claim_folder, convert_pictures
    from segment.data.annotations.scenes import Picture, scene_of_mask

    folder = output / name
    pictures = [
        Picture(
            str(files.stem.relative_to(output)).replace(os.sep, "_"),
            path,
            "default",
            partial(scene_of_mask, mask, classes),
        )
        for path, files in plan.items()
        if (mask := files.path(".png")).is_file()
    ]
    claim_folder(folder, {"format": name, "tolerance": tolerance, "classes": [*classes.names]})
    writer = WRITERS[name](folder, classes, 0, tolerance, "class")
    new, existing = convert_pictures(pictures, writer, lambda message: print(f"skipped: {printable(message)}"))
    print(f"{new} image{'s' * (new != 1)} annotated, {existing} had their annotations already: {folder}")


if __name__ == "__main__":
    entry_point("predict", predict)
