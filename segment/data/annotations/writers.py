"""Writers of masks: images and masks, VOC's layout, and CVAT's zip."""

import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from scipy import ndimage

from segment.console import print_once
from segment.data.annotations.masks import CLASS_MASKS, OBJECT_MASKS
from segment.data.annotations.objects import is_void
from segment.data.annotations.scenes import Picture, Scene, ShownObject
from segment.data.classes import IGNORE, VOID_COLOUR, Classes, voc_palette
from segment.data.headers import image_header
from segment.data.images import read_image
from segment.data.labelmap import labelmap_names
from segment.data.labels import VOID
from segment.errors import SegmentError
from segment.files import first_names, whole_file

SPLIT_LISTS = Path("ImageSets", "Segmentation")


def void_border(numbers: np.ndarray, void: np.ndarray, size: int) -> np.ndarray:
    """Return the pixels (H,W) whose window of ``size`` x ``size`` pixels sees two numbers; void pixels have none."""
    highest = ndimage.maximum_filter(np.where(void, -1, numbers), size, mode="nearest")
    lowest = ndimage.minimum_filter(np.where(void, numbers.max() + 1, numbers), size, mode="nearest")
    return (highest > lowest) & (highest >= 0)


class Writer(ABC):
    """Writes the files of converted images below a folder.

    Args:
        output: the folder.
        classes: names and colours of the classes.
        border: side of the window for :func:`void_border`; 0 for no border.
        tolerance: see :func:`segment.data.annotations.tracing.simplify`.
        difficult: "void" to ignore difficult objects where a format has no flag for them, "class" to keep them.
    """

    def __init__(self, output: Path, classes: Classes, border: int, tolerance: float, difficult: str) -> None:
        self.output, self.classes = output, classes
        self.border, self.tolerance, self.difficult = border, tolerance, difficult

    @abstractmethod
    def last_file(self, picture: Picture) -> Path:
        """Return the file of an image that is written last."""

    def is_complete(self, picture: Picture) -> bool:
        """Return whether an image was written before.

        Raises:
            SegmentError: a file of all images exists that lacks this one.
        """
        return self.last_file(picture).exists()

    @abstractmethod
    def write(self, picture: Picture, scene: Scene) -> None:
        """Write all files of an image."""

    def lists(self, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        """Return the lines of each text file of all images, given those that are complete."""
        return {}

    def finish(self, pictures: Sequence[Picture], changed: bool) -> None:
        """Write the files of all images, given those that are complete.

        Args:
            changed: also replace files that exist, since they may lack an image.
        """
        for path, lines in self.lists(pictures).items():
            if changed or not path.exists():
                with whole_file(path, encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in lines)

    def copy_image(self, picture: Picture, folder: str = "", suffix: str = "") -> Path:
        """Copy an image, unchanged, under the picture's name."""
        path = self.output / folder / f"{picture.name}{suffix or picture.image.suffix.lower()}"
        if not path.exists():
            with picture.image.open("rb") as source, whole_file(path, "wb") as file:
                shutil.copyfileobj(source, file)
        return path

    def split_lists(self, folder: Path, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        """Return the names of each split, by the path of its list."""
        splits = sorted({picture.split for picture in pictures})
        return {folder / f"{split}.txt": [one.name for one in pictures if one.split == split] for split in splits}


class MaskWriter(Writer):
    """Writes masks of classes, and ``labelmap.txt`` with names that it can hold."""

    def __init__(self, output: Path, classes: Classes, *args: Any) -> None:
        super().__init__(output, classes, *args)
        self.forms = labelmap_names([*classes.names, VOID])
        if changed := [f"{form} for {name}" for name, form in self.forms.items() if form != name]:
            print_once(f"note: labelmap.txt has {first_names(changed)}")

    def labelmap(self) -> dict[Path, list[str]]:
        """Return the lines of ``labelmap.txt``: names and colours of the classes and of void, as CVAT writes them."""
        colours = zip(self.forms.values(), (*self.classes.palette, VOID_COLOUR), strict=True)
        lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in colours]
        return {self.output / "labelmap.txt": ["# label:color_rgb:parts:actions", *lines]}

    def label(self, item: ShownObject) -> int:
        ignored = item.name == VOID or is_void(item.flags, self.difficult)
        return IGNORE if ignored else self.classes.names.index(item.name)

    def label_map(self, scene: Scene) -> np.ndarray:
        """Return the class map uint8 (H,W) with void borders."""
        labels = scene.values(self.label).astype(np.uint8)
        if self.border:
            void = scene.values(lambda item: item.name == VOID or "crowd" in item.flags) > 0
            labels[void_border(scene.numbers, void, self.border)] = IGNORE
        return labels

    def save_mask(self, path: Path, mask: np.ndarray, palette: list[int]) -> None:
        image = Image.fromarray(mask)
        image.putpalette(palette)
        with whole_file(path, "wb") as file:
            image.save(file, "PNG")


class MasksWriter(MaskWriter):
    """``images/``, ``masks/`` with class indices, ``labelmap.txt`` and lists of the splits, for data=folder."""

    def last_file(self, picture: Picture) -> Path:
        return self.output / "masks" / f"{picture.name}.png"

    def write(self, picture: Picture, scene: Scene) -> None:
        self.copy_image(picture, "images")
        self.save_mask(self.last_file(picture), self.label_map(scene), self.classes.flat_palette())

    def lists(self, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        return {**self.labelmap(), **self.split_lists(self.output, pictures)}


class ObjectMasksWriter(MaskWriter):
    """Masks of classes and masks of objects."""

    def last_file(self, picture: Picture) -> Path:
        return self.output / CLASS_MASKS / f"{picture.name}.png"

    def write(self, picture: Picture, scene: Scene) -> None:
        labels, kept = self.label_map(scene), self.kept_objects(scene)
        if len(kept) >= IGNORE:
            limit = f"a mask of objects holds {IGNORE - 1}: choose the format coco or labelme"
            raise SegmentError(f"{picture.image} has {len(kept)} objects; {limit}")
        order = {item.number: i for i, item in enumerate(kept, 1)}
        objects = scene.values(lambda item: order.get(item.number, IGNORE)).astype(np.uint8)
        objects[labels == IGNORE] = IGNORE
        palette = [value for colour in voc_palette(256) for value in colour]
        self.save_mask(self.output / OBJECT_MASKS / f"{picture.name}.png", objects, palette)
        self.write_further(picture, scene, kept)
        self.save_mask(self.last_file(picture), labels, self.classes.flat_palette())

    def kept_objects(self, scene: Scene) -> list[ShownObject]:
        return [item for item in scene.objects if item.name != VOID and "crowd" not in item.flags]

    def write_further(self, picture: Picture, scene: Scene, kept: Sequence[ShownObject]) -> None:
        pass


class CVATWriter(ObjectMasksWriter):
    """CVAT's "Segmentation mask 1.1": masks of classes and objects, and ``cvat.zip`` of them to import."""

    def lists(self, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        return {**self.labelmap(), self.output / SPLIT_LISTS / "default.txt": [picture.name for picture in pictures]}

    def finish(self, pictures: Sequence[Picture], changed: bool) -> None:
        super().finish(pictures, changed)
        path = self.output / "cvat.zip"
        if path.exists() and not changed:
            return
        with whole_file(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            masks = [f"{folder}/{one.name}.png" for one in pictures for folder in (CLASS_MASKS, OBJECT_MASKS)]
            for name in ("labelmap.txt", f"{SPLIT_LISTS.as_posix()}/default.txt", *masks):
                archive.write(self.output / name, name)


class VOCWriter(ObjectMasksWriter):
    """VOC's layout: ``JPEGImages/``, both kinds of masks, ``Annotations/`` with difficult objects, ``ImageSets/``."""

    def write_further(self, picture: Picture, scene: Scene, kept: Sequence[ShownObject]) -> None:
        header = image_header(picture.image)
        path = self.output / "JPEGImages" / f"{picture.name}.jpg"
        if header.format == "JPEG" and header.orientation == 1:
            self.copy_image(picture, "JPEGImages", ".jpg")
        else:
            pixels = read_image(picture.image).permute(1, 2, 0).numpy()
            with whole_file(path, "wb") as file:
                Image.fromarray(pixels).save(file, "JPEG", quality=95)
        with whole_file(self.output / "Annotations" / f"{picture.name}.xml", "wb") as file:
            tree = ElementTree.ElementTree(
                _voc_xml(path.name, scene, [item._replace(name=self.forms[item.name]) for item in kept])
            )
            ElementTree.indent(tree)
            tree.write(file, "utf-8")

    def lists(self, pictures: Sequence[Picture]) -> dict[Path, list[str]]:
        folder = self.output / SPLIT_LISTS
        names = [picture.name for picture in pictures]
        return {**self.labelmap(), **self.split_lists(folder, pictures), folder / "trainval.txt": names}


def _voc_xml(filename: str, scene: Scene, objects: Sequence[ShownObject]) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    height, width = scene.numbers.shape
    _add(root, filename=filename)
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=1)
    for item in objects:
        rows, columns = item.box
        element = ElementTree.SubElement(root, "object")
        difficult = int("difficult" in item.flags)
        _add(element, name=item.name, pose="Unspecified", truncated=0, difficult=difficult)
        box = {"xmin": columns.start + 1, "ymin": rows.start + 1, "xmax": columns.stop, "ymax": rows.stop}
        _add(ElementTree.SubElement(element, "bndbox"), **box)
    return root


def _add(parent: ElementTree.Element, **texts: Any) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)
