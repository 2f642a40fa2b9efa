"""ADE20K's SceneParsing challenge (Zhou et al., 2017): 150 classes of things and stuff."""

import csv
from importlib.resources import files

from segment.data.classes import Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import IGNORE, Sample, label_map
from segment.errors import SegmentError


def _read_classes() -> Classes:
    with (files("segment.data") / "ade20k.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Classes(
        tuple(row["name"].split(",")[0] for row in rows),
        tuple((int(row["r"]), int(row["g"]), int(row["b"])) for row in rows),
    )


ADE20K = _read_classes()

FOLDERS = {"train": "training", "val": "validation"}


class ADE20KDataModule(SegmentationDataModule):
    """``ADEChallengeData2016/images|annotations/training|validation``.

    Masks hold 0 for "other", which is ignored, and 1 to 150 for the classes 0 to 149.

    Args:
        root: the folder that holds ``ADEChallengeData2016``, or that folder itself.
    """

    classes = ADE20K
    layout = "ADEChallengeData2016/ with images/{training,validation} and annotations/{training,validation}"

    @property
    def table(self):
        return label_map(len(ADE20K), offset=1, void=(0, IGNORE))

    def samples(self, split: str) -> list[Sample]:
        """Every JPEG of the split's folder, in the order of their names."""
        if split not in FOLDERS:
            raise SegmentError(f"ADE20K has the splits train and val, not {split!r}: the test set has no masks")
        base = self.folder("ADEChallengeData2016")
        images = sorted((base / "images" / FOLDERS[split]).glob("*.jpg"))
        if not images:
            raise SegmentError(f"no image in {base / 'images' / FOLDERS[split]}: expected {self.layout}")
        masks = base / "annotations" / FOLDERS[split]
        return [Sample(image.stem, image, masks / f"{image.stem}.png") for image in images]
