"""Run by datumaro's own environment (make referee): read what segment wrote, or write what segment reads.

python referee.py read FORMAT FOLDER OUT.npz     class maps of all images, by id
python referee.py write FOLDER                   FOLDER/FORMAT for each format, and FOLDER/expected.npz
"""

import sys
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import AnnotationType, LabelCategories, Mask, Polygon
from datumaro.components.media import Image
from pycocotools import mask as coco

NAMES = ["background", "cat", "dog"]
SIZE = (20, 30)


def polygon_mask(points, size):
    return coco.decode(coco.frPyObjects([points], *size))[..., 0] > 0


def read(name: str, folder: str, out: str) -> None:
    dataset = dm.Dataset.import_from(folder, name)
    labels = dataset.categories()[AnnotationType.label]
    names = [one.name for one in labels if one.name not in {"background", "void"}]
    found = {}
    for item in dataset:
        masks = [one.image for one in item.annotations if one.type == AnnotationType.mask]
        size = masks[0].shape if masks else item.media.size  # CVAT's zip has no images
        values = np.zeros(size, np.uint8)
        for one in item.annotations:
            label = labels[one.label].name if one.label is not None else ""
            if one.type in {AnnotationType.polygon, AnnotationType.mask} and label != "background":
                mask = polygon_mask(one.points, size) if one.type == AnnotationType.polygon else one.image > 0
                values[mask] = 255 if label == "void" else names.index(label) + 1
        found[item.id] = values
    np.savez(out, **found)


def _item(number: int, split: str, shapes: list, mask: np.ndarray) -> dm.DatasetItem:
    pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)
    media = Image.from_numpy(pixels, ext=".png", size=SIZE)
    annotations = [*shapes, Mask(mask, label=2, group=2, id=2)]
    return dm.DatasetItem(f"item{number}", subset=split, media=media, annotations=annotations)


def write(folder: str) -> None:
    triangle, hole = [2.0, 3.0, 20.0, 4.0, 10.0, 17.0], np.zeros(SIZE, bool)
    hole[5:15, 18:28] = True
    hole[8:11, 21:24] = False
    categories = {AnnotationType.label: LabelCategories.from_iterable(NAMES)}
    for name in ("coco_instances", "voc_segmentation"):
        is_coco = name == "coco_instances"
        first = (
            Polygon(triangle, label=1, group=1, id=1)
            if is_coco
            else Mask(polygon_mask(triangle, SIZE), label=1, group=1)
        )
        items = [_item(i, split, [first] * (i == 0), hole) for i, split in enumerate(("train", "val"))]
        dataset = dm.Dataset.from_iterable(items, categories=categories)
        options = {} if is_coco else {"label_map": "source"}
        dataset.export(str(Path(folder) / name), name, save_media=True, **options)
    expected = [np.zeros(SIZE, np.uint8) for _ in range(2)]
    expected[0][polygon_mask(triangle, SIZE)] = 1
    for values in expected:
        values[hole] = 2
    np.savez(Path(folder) / "expected.npz", item0=expected[0], item1=expected[1])


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
