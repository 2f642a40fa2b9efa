"""A data set: its classes, and the files of each split."""

from segment.data import Classes, Sample, SegmentationDataModule


class LeavesDataModule(SegmentationDataModule):
    """``photos/NAME.jpg``, ``outlines/NAME.png``, and the lists ``train.txt`` and ``val.txt``."""

    name = "leaves"
    classes = Classes(("background", "leaf"), ((0, 0, 0), (0, 160, 0)))
    layout = "photos/, outlines/, train.txt and val.txt"

    def samples(self, split: str) -> list[Sample]:
        root = self.folder()
        names = self.read_list(root / f"{split}.txt")
        return [Sample(name, root / f"photos/{name}.jpg", root / f"outlines/{name}.png") for name in names]
