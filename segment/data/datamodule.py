"""The LightningDataModule that every data set shares."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader

from segment.data.classes import Classes
from segment.data.dataset import EvalSampler, Item, Sample, SegmentationDataset, TrainSampler, check_headers, label_map
from segment.data.transforms import train_transform
from segment.errors import SegmentError


class SegmentationDataModule(L.LightningDataModule):
    """Loaders for training (random crops, in batches) and evaluation (whole images, one at a time).

    A data set is a subclass that says what its classes are and which files belong to a split.

    Args:
        root: folder of the data set; ``~`` is the home folder.
        batch_size: images per training step and process.
        num_workers: loader processes per training process.
        crop_size: height and width of a training crop, in pixels.
        scale, short_side, flip, colour: see :func:`segment.data.transforms.train_transform`.
        seed: of order and augmentation.

    Raises:
        SegmentError: the folder does not exist.
    """

    classes: ClassVar[Classes]
    layout: str
    """What is expected below ``root``, for the error message."""

    def __init__(
        self,
        root: str,
        batch_size: int = 8,
        num_workers: int = 4,
        crop_size: Sequence[int] = (512, 512),
        scale: Sequence[float] = (0.5, 2.0),
        short_side: int | None = None,
        flip: float = 0.5,
        colour: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if (
            len(crop_size) != 2
            or min(crop_size) < 1
            or batch_size < 1
            or num_workers < 0
            or not 0 < scale[0] <= scale[1]
        ):
            raise SegmentError(
                f"data: expected crop_size=[HEIGHT,WIDTH], batch_size from 1, num_workers from 0 and scale=[LOW,HIGH], "
                f"but got {list(crop_size)}, {batch_size}, {num_workers} and {list(scale)}"
            )
        self.root = Path(root).expanduser()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.transform = train_transform(crop_size, scale, short_side, flip, colour)
        self._datasets: dict[tuple[str, bool], SegmentationDataset] = {}

    def samples(self, split: str) -> list[Sample]:
        """The files of a split ("train", "val", "test" or one of the data set's own)."""
        raise SegmentError(f"{type(self).__name__} has no split {split!r}")

    @property
    def table(self) -> Tensor:
        """How mask values become labels; see :func:`segment.data.dataset.label_map`."""
        return label_map(len(self.classes))

    def location(self) -> dict[str, str]:
        """Where the data lies, for a checkpoint that will be evaluated from another folder."""
        return {"root": str(self.root.absolute())}

    def folder(self, *parts: str) -> Path:
        """An existing folder of the data set; ``parts`` may start at ``root`` or already be its end.

        Raises:
            SegmentError: none of the places is a folder.
        """
        for skipped in range(len(parts) + 1):
            path = self.root.joinpath(*parts[skipped:])
            if path.is_dir() and (skipped == 0 or self.root.absolute().name == parts[skipped - 1]):
                return path
        raise SegmentError(f"no data set at data.root={self.root}: expected {self.layout} there")

    def list_ids(self, path: Path) -> list[str]:
        """The lines of a split's list.

        Raises:
            SegmentError: the list is missing or empty.
        """
        if not path.is_file():
            have = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
            raise SegmentError(f"the split list {path} is missing; lists found there: {have}")
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        if not lines:
            raise SegmentError(f"the split list {path} is empty")
        return lines

    def dataset(self, split: str, augment: bool = False) -> SegmentationDataset:
        """The checked data set of a split, with or without random augmentation; checked and made once.

        Raises:
            SegmentError: a file is missing, or of the wrong size or mode.
        """
        key = (split, augment)
        if key not in self._datasets:
            self._datasets[key] = self.make_dataset(split, self.transform if augment else None)
        return self._datasets[key]

    def make_dataset(self, split: str, transform: Callable | None) -> SegmentationDataset:
        """What :meth:`dataset` keeps."""
        samples = self.samples(split)
        check_headers(samples)
        return SegmentationDataset(samples, self.table, transform, self.seed)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.dataset("train", augment=True)
            self.dataset("val")

    def train_dataloader(self) -> DataLoader[Item]:
        data = self.dataset("train", augment=True)
        sampler = TrainSampler(len(data), self.batch_size, self.seed, *self._rank())
        return self._loader(data, sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader[Item]:
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader[Item]:
        """Every image of a split once, whole and unchanged, one per batch; shared out between processes."""
        data = self.dataset(split)
        return self._loader(data, EvalSampler(len(data), *self._rank()), 1)

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: SegmentationDataset, sampler, batch_size: int) -> DataLoader[Item]:
        return DataLoader(
            data,
            batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=self.num_workers > 0,
        )
