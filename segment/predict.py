"""Segment photos and videos: ``python -m segment.predict checkpoint=FILE input=FILE_OR_FOLDER output=FOLDER``."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import checkpoint_digest, printable, user_path
from segment.records.folder import checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data.classes import Classes
    from segment.prediction.segmenter import Segmenter
    from segment.prediction.video import VideoFrame
    from segment.prediction.video_files import VideoFiles
    from segment.prediction.work import Work


def predict(config: DictConfig) -> None:
    """Write for each image, and each frame of a video, a palette PNG of class indices at its own size, and extras.

    Raises:
        SegmentError: a setting is wrong, or some inputs could not be segmented.
    """
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.image_loop import note_bands, process_inputs
    from segment.prediction.output_files import EXTRAS, OVERLAY, OutputFiles
    from segment.prediction.segmenter import load_segmenter
    from segment.prediction.smoothing import check_smooth
    from segment.prediction.video_files import OVERLAY_VIDEO
    from segment.prediction.work import plan_work

    extras = [suffix for suffix, key in EXTRAS.items() if check_value(key, config[key], bool)]
    tolerance = float(check_value("tolerance", config.tolerance, float))
    smooth = check_smooth(float(check_value("smooth", config.smooth, float)))
    if config.write not in {None, "labelme", "coco", "cvat"} or not tolerance >= 0:
        raise SegmentError(
            f"expected write=labelme, coco or cvat and tolerance from 0, got {config.write} and {tolerance}"
        )
    inference = instantiate(config.inference)
    source, output = (user_path(config[key], key) for key in ("input", "output"))
    overlay_video = OVERLAY_VIDEO if OVERLAY in extras else None
    work = plan_work(source, output, inference.max_memory, "predict", extras, overlay_video)
    segmenter = load_segmenter(checkpoint, config.device, inference, config.trust)
    origin = f"{checkpoint_digest(checkpoint)} {inference.describe()}"
    note_bands(work.images, segmenter.reading)

    def write(path: Path, files: OutputFiles, origin: str) -> None:
        files.write(segmenter.predict(path, config.probabilities), path, origin)

    new, existing = process_inputs(work.images, origin, write)
    failed = 0
    if config.write is not None:
        failed = write_annotations(work, output, segmenter.classes, config.write, tolerance)
    if work.images:
        names = ", ".join(f"NAME{suffix}" for suffix in (".png", *extras))
        print(f"{new} image{'s' * (new != 1)} segmented, {existing} had their masks already: {output}/{names}")
    new_videos, existing_videos = process_inputs(
        work.videos,
        f"{origin} smooth {smooth}" if smooth else origin,
        partial(predict_frames, segmenter, smooth, config.probabilities),
        progress=False,
    )
    if existing_videos:
        print(f"{existing_videos} of {len(work.videos)} videos were done already: {output}/NAME/000001.png")
    work.require_all(new + existing + new_videos + existing_videos, "segmented")
    if failed:
        raise SegmentError(f"{failed} of {len(work.images)} images could not be annotated, see the lines above")


def predict_frames(
    segmenter: "Segmenter", smooth: float, probabilities: bool, path: Path, files: "VideoFiles", origin: str
) -> None:
    """Write the masks of a video's frames, and a video of their overlays."""
    from PIL import Image

    from segment.prediction.segmenter import Segmentation
    from segment.prediction.smoothing import FrameSegmenter
    from segment.prediction.video_files import frame_origin
    from segment.prediction.video_loop import process_frames

    frames, existing = FrameSegmenter(segmenter, smooth), 0

    def draw(frame: "VideoFrame") -> np.ndarray | None:
        nonlocal existing
        target, own_origin = files.frame(frame.number), frame_origin(origin, frame.number)
        if not smooth and target.are_complete(own_origin):  # an average needs all frames
            existing += 1
            found = Segmentation(frame.image, np.asarray(Image.open(target.path(".png"))), segmenter.classes)
        else:
            found = frames.predict(frame.image, probabilities)
            target.write(found, f"{path} frame {frame.number}", own_origin)
        return np.asarray(found.overlay()) if files.suffixes else None

    count = process_frames(path, files, origin, draw)
    files.remove_frames_after(count)
    written = ", ".join([f"{files.frame(1).path('.png')}", *(str(files.path(suffix)) for suffix in files.suffixes)])
    print(f"{count - existing} frames segmented, {existing} had their masks already: {printable(written)}")


def write_annotations(work: "Work", output: Path, classes: "Classes", name: str, tolerance: float) -> int:
    """Write the predicted masks as annotations that a tool opens, into a folder of that name; corrected files are kept.

    Returns:
        Number of masks that could not be written so.

    Raises:
        SegmentError: the folder belongs to other predictions, or cannot be written.
    """
    from segment.data.annotations.conversion import WRITERS, claim_folder, convert_pictures
    from segment.data.annotations.scenes import Picture, scene_of_mask

    if work.videos:
        print(f"note: write={name} is for images: to correct frames, extract them as images first")
    folder = output / name
    pictures = [
        Picture(
            str(files.stem.relative_to(output)).replace(os.sep, "_"),
            path,
            "default",
            partial(scene_of_mask, mask, classes),
        )
        for path, files in work.images.items()
        if (mask := files.path(".png")).is_file()
    ]
    writer = WRITERS[name](folder, classes, 0, tolerance, "class")
    claim_folder(folder, {"format": name, "tolerance": tolerance, "classes": [*classes.names]})
    new, existing = convert_pictures(pictures, writer, lambda message: print(f"skipped: {printable(message)}"))
    print(f"{new} image{'s' * (new != 1)} annotated, {existing} had their annotations already: {folder}")
    return len(pictures) - new - existing


if __name__ == "__main__":
    entry_point("predict", predict)
