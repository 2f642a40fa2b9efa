"""PASCAL VOC's segmentation task (Everingham et al., 2010): 20 classes of things and the background."""

from typing import Any

from segment.data.classes import Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Sample

NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
VOC = Classes(tuple(NAMES.split()), voc_palette(21))


class VOCDataModule(SegmentationDataModule):
    """``VOCdevkit/VOC<year>`` as its archives unpack it.

    Masks are palette PNGs of class indices; 255 is the 5-pixel border and the objects marked difficult.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``VOCdevkit`` or ``VOC<year>`` itself.
        year: of the challenge.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.
    """

    classes = VOC

    def __init__(self, root: str, year: int = 2012, **loading: Any) -> None:
        super().__init__(root, **loading)
        self.year = year
        self.layout = f"VOCdevkit/VOC{year}/ with JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/"

    def samples(self, split: str) -> list[Sample]:
        """The ids that ``ImageSets/Segmentation/<split>.txt`` lists; of "test", those masks that are there."""
        base = self.folder("VOCdevkit", f"VOC{self.year}")
        samples = []
        for name in self.list_ids(base / "ImageSets" / "Segmentation" / f"{split}.txt"):
            mask = base / "SegmentationClass" / f"{name}.png"
            public = split != "test" or mask.is_file()  # of the test sets, only that of 2007 has masks
            samples.append(Sample(name, base / "JPEGImages" / f"{name}.jpg", mask if public else None))
        return samples
