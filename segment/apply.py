"""Use the classes of photos: ``python -m segment.apply effect=NAME checkpoint=FILE input=IMAGES output=FOLDER``."""

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from segment.files import checkpoint_digest, printable, readable_file, user_path, whole_file
from segment.records.folder import checkpoint_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.prediction.output_files import OutputFiles
    from segment.prediction.segmenter import Segmentation, Segmenter

TABLES = ("measure", "alert")
"""Effects whose results are rows of a table."""
PICTURES = ("texture", "background")
"""Keys of effects that name a picture."""
KEPT_ROWS = ".segment_apply_{}.jsonl"
"""File in the output folder with the rows of an effect, so that an interrupted command continues."""


def apply(config: DictConfig) -> None:
    """Write for each image a picture with the effect, or one table for all.

    Raises:
        SegmentError: a setting is wrong, or some images could not be processed.
    """
    checkpoint = checkpoint_path(config.checkpoint)  # before torch, which takes seconds, is imported
    from segment.prediction.image_loop import limit_image_size, note_bands, process_images
    from segment.prediction.input_files import find_images
    from segment.prediction.output_files import plan_outputs, prepare_folder
    from segment.prediction.segmenter import load_segmenter

    names = check_value("classes", plain(config.classes), list[str] | None)
    settings, inference = effect_settings(config), instantiate(config.inference)
    name = str(settings["_target_"]).rpartition(".")[2]
    effect = instantiate(config.effect, **{key: settings[key] for key in PICTURES if settings.get(key)})
    if name != "alert":  # a wrong value is found before the work; of a polygon it depends on the image
        effect(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), [0])
    limit_image_size(inference.max_memory)
    source, output = (user_path(config[key], key) for key in ("input", "output"))
    table = Table(output, name) if name in TABLES else None
    try:
        plan = plan_outputs(*find_images(source, output), output, [], "apply")
        prepare_folder(output, {} if table else plan)
    except OSError as error:
        raise SegmentError(f"{error.filename}: {error.strerror}") from None
    segmenter = load_segmenter(checkpoint, config.device, inference, config.trust)
    chosen = class_indices(names, segmenter.classes.names)
    note_bands(plan, segmenter.reading)
    work = partial(apply_effect, segmenter, effect, chosen, settings.get("feather", 0) > 0)
    origin = f"{checkpoint_digest(checkpoint)} {inference.describe()} {chosen} {json.dumps(settings)}"
    if table:
        new, existing = process_images(
            plan, origin, table.has, lambda path, _, origin: table.add(path, origin, work(path))
        )
        print(table.write(plan, segmenter.classes.names))
    else:
        new, existing = process_images(
            plan, origin, lambda _, files, origin: files.are_complete(origin), partial(write_picture, work)
        )
        print(f"{new} image{'s' * (new != 1)} written, {existing} existed already: {output}/NAME.png")
    if failed := len(plan) - new - existing:
        raise SegmentError(f"{failed} of {len(plan)} images could not be processed, see the lines above")


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
    segmenter: "Segmenter", effect: Callable[..., Any], chosen: list[int], is_soft: bool, path: Path
) -> Any:
    """Return an effect's result for an image: a picture uint8 (H,W,3) or (H,W,4), or rows."""
    found: Segmentation = segmenter.predict(path, probabilities=is_soft)
    soft = {"probabilities": found.probabilities} if is_soft else {}
    return effect(found.image, found.mask, chosen, **soft)


def write_picture(work: Callable[[Path], Any], path: Path, files: "OutputFiles", origin: str) -> None:
    """Write the picture that ``work`` makes of an image."""
    from PIL import Image

    files.write_picture(Image.fromarray(work(path)), origin)


class Table:
    """The rows of all images: kept as they come, and written as one CSV.

    Args:
        output: folder of the table.
        name: name of the effect, and of the file.

    Raises:
        SegmentError: the file exists and is of another program.
    """

    def __init__(self, output: Path, name: str) -> None:
        self.path, self.kept = output / f"{name}.csv", output / KEPT_ROWS.format(name)
        self.earlier: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        with suppress(OSError, UnicodeDecodeError):
            for line in self.kept.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, TypeError):  # the last line may be cut off
                    image, origin, rows = json.loads(line)
                    self.earlier[image] = origin, rows
        if self.path.exists() and not self.kept.is_file():
            raise SegmentError(f"{self.path} exists, and segment.apply did not write it: choose another folder")

    def has(self, path: Path, files: "OutputFiles", origin: str) -> bool:
        """Return whether earlier rows of an image are of this origin, and take them into the table."""
        earlier, rows = self.earlier.get(str(path), ("", []))
        if earlier == origin:
            self.rows[str(path)] = rows
        return earlier == origin

    def add(self, path: Path, origin: str, result: Any) -> None:
        """Keep the result of an image: a named tuple, or a list of them."""
        rows = [row._asdict() for row in (result if isinstance(result, list) else [result])]
        self.rows[str(path)] = rows
        with self.kept.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps([str(path), origin, rows])}")  # the line before may be cut off

    def write(self, plan: "dict[Path, OutputFiles]", names: Sequence[str]) -> str:
        """Write the rows that were added or taken, in the order of the images, and return lines that sum them up."""
        rows: list[dict[str, Any]] = []
        for path in plan:
            for row in self.rows.get(str(path), []):
                label = {"class": names[row["label"]]} if "label" in row else {}
                rows.append({"image": str(path), **label, **{key: row[key] for key in row if key != "label"}})
        with whole_file(self.path, encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["image"])
            writer.writeheader()
            writer.writerows(rows)
        if self.path.stem == "alert":
            alerts = [row["image"] for row in rows if row["alert"]]
            return "\n".join(
                [*(f"alert  {printable(image)}" for image in alerts), f"{len(alerts)} alerts, all shares: {self.path}"]
            )
        return f"{len(rows)} regions: {self.path}"


if __name__ == "__main__":
    entry_point("apply", apply)
