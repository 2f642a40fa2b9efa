"""Use classes in photos and videos: ``python -m segment.apply effect=NAME checkpoint=RUN input=PATH output=FOLDER``."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.config import group_options, plain
from segment.cli.entry_point import entry_point
from segment.cli.suggestions import suggestion
from segment.cli.value_types import MISSING, check_value
from segment.errors import SegmentError
from segment.files import checkpoint_digest, readable_file, user_path
from segment.records.folder import checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.prediction.output_files import OutputFiles
    from segment.prediction.row_table import RowTable
    from segment.prediction.segmenter import Segmentation, Segmenter
    from segment.prediction.video import VideoFrame
    from segment.prediction.video_files import VideoFiles

TABLES = ("measure", "alert")
"""Effects whose results are rows of a table."""
PICTURES = ("texture", "background")
"""Keys of effects that name a picture."""


def apply(config: DictConfig) -> None:
    """Write for each image or video one with the effect, or one table for all.

    Raises:
        SegmentError: a setting is wrong, or some inputs could not be processed.
    """
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.image_loop import note_bands, process_inputs
    from segment.prediction.row_table import RowTable
    from segment.prediction.segmenter import load_segmenter
    from segment.prediction.smoothing import check_smooth
    from segment.prediction.work import plan_work

    names = check_value("classes", plain(config.classes), list[str] | None)
    settings, inference = effect_settings(config), instantiate(config.inference)
    name = str(settings["_target_"]).rpartition(".")[2]
    effect = checked_effect(config, settings, name)
    smooth = check_smooth(float(check_value("smooth", config.smooth, float)))
    source, output = (user_path(config[key], key) for key in ("input", "output"))
    table = RowTable(output, name) if name in TABLES else None
    is_alpha = name == "cutout" and not settings["background"]
    suffix = None if table else ".webm" if is_alpha else ".mp4"
    work = plan_work(source, output, inference.max_memory, "apply", (), suffix, table is not None)
    segmenter = load_segmenter(checkpoint, config.device, inference, config.trust)
    chosen = class_indices(names, segmenter.classes.names)
    note_bands(work.images, segmenter.reading)
    use = partial(apply_effect, effect, chosen, settings.get("feather", 0) > 0)
    origin = f"{checkpoint_digest(checkpoint)} {inference.describe()} {chosen} {json.dumps(settings)}"
    if table:
        new, existing = process_inputs(
            work.images,
            origin,
            lambda path, _, origin: table.add(path, origin, use(segmenter.predict, path)),
            lambda path, _, origin: table.has(path, origin),
        )
    else:
        new, existing = process_inputs(work.images, origin, partial(write_picture, partial(use, segmenter.predict)))
        if work.images:
            print(f"{new} image{'s' * (new != 1)} written, {existing} existed already: {output}/NAME.png")
    new_videos, existing_videos = process_inputs(
        work.videos,
        f"{origin} smooth {smooth}",
        partial(apply_to_frames, segmenter, smooth, use, table),
        progress=False,
    )
    if table:
        print(table.write(segmenter.classes.names))
    elif work.videos:
        written = f"{new_videos} video{'s' * (new_videos != 1)} written"
        print(f"{written}, {existing_videos} existed already: {output}/NAME{suffix}")
    work.require_all(new + existing + new_videos + existing_videos, "processed")


def checked_effect(config: DictConfig, settings: dict[str, Any], name: str) -> Callable[..., Any]:
    """Return the effect, once its settings are checked.

    Raises:
        SegmentError: a setting is wrong.
    """
    effect = instantiate(config.effect, **{key: settings[key] for key in PICTURES if settings.get(key)})
    tried = {}
    if name == "alert":  # a polygon may lie outside a small image
        from segment.effects.watching import polygon_points

        if settings["polygon"] is not None:
            polygon_points(settings["polygon"])
        tried = {"polygon": None}
    try:
        effect(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), [0], **tried)
    except TypeError as error:  # two effects were given, or a key that it does not have
        raise SegmentError(f"effect={name}: {error}") from None
    return effect


def effect_settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings of the effect as plain data; of a picture its path, size and time of change.

    Raises:
        SegmentError: the effect, a value or a picture is missing.
    """
    if config.get("effect") is None:
        raise SegmentError(f"effect is missing: give effect=NAME, one of {', '.join(group_options('effect'))}")
    settings: dict[str, Any] = plain(config.effect)
    if missing := [key for key, value in settings.items() if value == MISSING]:
        raise SegmentError(f"effect.{missing[0]} is missing: give effect.{missing[0]}=VALUE")
    for key in PICTURES:
        if settings.get(key):
            path = readable_file(settings[key], f"effect.{key}")
            settings[key] = str(path)
            settings[f"{key} of"] = [path.stat().st_size, path.stat().st_mtime_ns]
    return settings


def class_indices(names: Sequence[str] | None, known: Sequence[str]) -> list[int]:
    """Return the indices of the chosen classes; by default all but the background.

    Raises:
        SegmentError: the net has no such class, or no class is chosen.
    """
    if names is None:
        return [index for index, name in enumerate(known) if name != "background"]
    for name in names:
        if name not in known:
            raise SegmentError(f"classes: the net has no class {name}{suggestion(name, known, '')}")
    if not names:
        raise SegmentError("classes=[]: expected the names of one class or more")
    return sorted({known.index(name) for name in names})


def apply_effect(
    effect: Callable[..., Any], chosen: list[int], is_soft: bool, predict: "Callable[..., Segmentation]", image: Any
) -> Any:
    """Return an effect's result for an image: a picture uint8 (H,W,3) or (H,W,4), or rows."""
    found = predict(image, probabilities=is_soft)
    soft = {"probabilities": found.probabilities} if is_soft else {}
    return effect(found.image, found.mask, chosen, **soft)


def apply_to_frames(
    segmenter: "Segmenter",
    smooth: float,
    use: Callable[..., Any],
    table: "RowTable | None",
    path: Path,
    files: "VideoFiles",
    origin: str,
) -> None:
    """Write a video with an effect, or add the rows of its frames to a table."""
    from segment.prediction.smoothing import FrameSegmenter
    from segment.prediction.video_loop import process_frames

    frames = FrameSegmenter(segmenter, smooth)

    def draw(frame: "VideoFrame") -> np.ndarray | None:
        if table is None:
            return use(frames.predict, frame.image)
        if smooth or not table.has(path, origin, frame):  # an average needs all frames
            table.add(path, origin, use(frames.predict, frame.image), frame)
        return None

    process_frames(path, files, origin, draw)


def write_picture(work: Callable[[Path], Any], path: Path, files: "OutputFiles", origin: str) -> None:
    """Write the picture that ``work`` makes of an image."""
    from PIL import Image

    files.write_picture(Image.fromarray(work(path)), origin)


if __name__ == "__main__":
    entry_point("apply", apply)
