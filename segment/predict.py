"""Segment photos: ``python -m segment.predict checkpoint=FILE input=IMAGE_OR_FOLDER_OR_PATTERN output=FOLDER``."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import checkpoint_digest, printable, user_path
from segment.records.folder import checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.classes import Classes
    from segment.prediction.output_files import OutputFiles


def predict(config: DictConfig) -> None:
    """Write for each image a palette PNG of class indices, at the image's own size, and the extras that are on.

    Raises:
        SegmentError: a setting is wrong, or some images could not be segmented.
    """
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.image_loop import limit_image_size, note_bands, process_images
    from segment.prediction.input_files import find_images
    from segment.prediction.output_files import EXTRAS, OutputFiles, plan_outputs, prepare_folder
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

    def write(path: Path, files: OutputFiles, origin: str) -> None:
        files.write(segmenter.predict(path, config.probabilities), path, origin)

    new, existing = process_images(plan, origin, lambda _, files, origin: files.are_complete(origin), write)
    if config.write is not None:
        write_annotations(plan, output, segmenter.classes, config.write, tolerance)
    names = ", ".join(f"NAME{suffix}" for suffix in (".png", *extras))
    print(f"{new} image{'s' * (new != 1)} segmented, {existing} had their masks already: {output}/{names}")
    if failed := len(plan) - new - existing:
        raise SegmentError(f"{failed} of {len(plan)} images could not be segmented, see the lines above")


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
