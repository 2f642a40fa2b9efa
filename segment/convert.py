"""Convert annotations to masks or other formats: ``python -m segment.convert input=FOLDER output=FOLDER``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.entry_point import entry_point
from segment.cli.value_types import check_value
from segment.errors import NoSplitError, SegmentError
from segment.files import printable, user_path

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.data import Classes, SegmentationDataModule, SegmentationDataset
    from segment.data.annotations.scenes import Picture, Scene


def convert(config: DictConfig) -> None:
    """Write the images of a data set and their objects in another format.

    Raises:
        SegmentError: a setting is wrong, or some images could not be converted.
    """
    from rich.console import Console
    from rich.progress import track

    from segment.data.annotations.conversion import WRITERS, claim_folder, convert_pictures

    border = check_value("border", config.border, int | None)
    tolerance = float(check_value("tolerance", config.tolerance, float))
    if config.format not in WRITERS or not tolerance >= 0 or (border and (border < 3 or border % 2 == 0)):
        raise SegmentError(
            f"expected format={'|'.join(WRITERS)}, border=0 or an odd number from 3 and tolerance from 0, "
            f"but got {config.format}, {border} and {tolerance}"
        )
    source, output = (user_path(config[key], key) for key in ("input", "output"))
    data = instantiate(config.data)
    border = (5 if config.format == "voc" else 0) if border is None else border
    difficult = getattr(data, "difficult", "class")
    settings = {"format": config.format, "border": border, "tolerance": tolerance, "difficult": difficult}
    pictures = find_pictures(data)
    if output.resolve().is_relative_to(source.resolve()):
        raise SegmentError(f"output={output} lies in input={source}: choose another folder")
    writer = WRITERS[config.format](output, data.classes, border, tolerance, difficult)
    claim_folder(output, {"input": str(source.absolute()), "classes": [*data.classes.names], **settings})
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    left_out: list[str] = []

    def skip(message: str) -> None:
        left_out.append(message)
        console.print(f"skipped: {printable(message)}", style="yellow")

    for finding in getattr(data, "left_out", []):
        skip(finding.message)
    new, existing = convert_pictures(pictures, writer, skip, lambda found: track(found, "converting", console=console))
    print(f"{new} image{'s' * (new != 1)} converted, {existing} had been converted already: {output}")
    if left_out:
        raise SegmentError(f"{len(left_out)} could not be converted, see the lines above")


def find_pictures(data: "SegmentationDataModule") -> "list[Picture]":
    """Return the images of all splits, and annotated images that are in none.

    Raises:
        SegmentError: no split has images.
    """
    from segment.data.annotations.scenes import Picture, scene_of_annotation
    from segment.data.datasets.annotated import AnnotationDataModule
    from segment.data.datasets.folder import FolderDataModule

    pictures: dict[Path, Picture] = {}
    errors = []
    for split in dict.fromkeys((data.train_split, data.val_split, "test")):
        try:
            dataset = data.make_dataset(split, None)
        except SegmentError as error:
            is_missing = isinstance(error, NoSplitError) or (split == "test" and not isinstance(data, FolderDataModule))
            if not is_missing:  # such as a list that names an image that is not there
                raise
            errors.append(error)
            continue
        for index, sample in enumerate(dataset.samples):
            scene = partial(_read_scene, dataset, index, data.classes)
            pictures[sample.image] = Picture(sample.id.replace("/", "_"), sample.image, split, scene)
    if not isinstance(data, AnnotationDataModule):
        if not pictures:
            raise errors[0]
        return [*pictures.values()]
    for one in data.annotations:
        split = pictures[one.image].split if one.image in pictures else "unlisted"
        scene = partial(scene_of_annotation, one, data.class_of_object)
        pictures[one.image] = Picture(one.id.replace("/", "_"), one.image, split, scene)
    return [*pictures.values()]


def _read_scene(dataset: "SegmentationDataset", index: int, classes: "Classes") -> "Scene":
    from segment.data.annotations.scenes import scene_of_labels

    return scene_of_labels(dataset.load(index)[1].numpy(), classes)


if __name__ == "__main__":
    entry_point("convert", convert)
