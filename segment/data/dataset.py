"""Pairs of image and mask on disk: how they are checked, read and handed to the loader."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image

from segment.data.classes import IGNORE
from segment.errors import SegmentError

INVALID = 254
"""What a label map gives to values that no mask of the data set may hold."""


class Sample(NamedTuple):
    """One image and its mask (None where the masks are not public)."""

    id: str
    image: Path
    mask: Path | None


class Item(TypedDict):
    """image: uint8 (3,H,W) RGB; mask: int64 (H,W), 255 where no class is known; id: the sample's name."""

    image: Tensor
    mask: Tensor
    id: str


class Draw(NamedTuple):
    """What a sampler asks for: which sample, in which epoch, and whether it only fills up a rank's share."""

    sample: int
    epoch: int = 0
    filler: bool = False


def read_image(path: Path) -> Tensor:
    """Read any image file as uint8 (3,H,W) RGB, turned upright as its EXIF orientation says.

    Raises:
        SegmentError: the file is missing, truncated or no image.
    """
    try:
        if path.suffix.lower() in {".jpg", ".jpeg"}:  # twice as fast as PIL
            return decode_image(str(path), ImageReadMode.RGB, apply_exif_orientation=True)
        with Image.open(path) as file:
            image: Image.Image = file
            if image.mode.startswith("I;16"):  # PIL would clip 16 bits at 255 instead of scaling them
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return torch.from_numpy(np.array(ImageOps.exif_transpose(image).convert("RGB"))).permute(2, 0, 1)
    except (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SegmentError(f"cannot read the image {path}: {str(error).rsplit('] ', 1)[-1]}") from None


def read_mask(path: Path, label_map: Tensor) -> Tensor:
    """Read a mask of class indices as uint8 (H,W) and translate its values by ``label_map`` (uint8, 256).

    Raises:
        SegmentError: the file can't be read, or holds a value that ``label_map`` calls invalid.
    """
    try:
        with Image.open(path) as image:
            values = np.array(image, dtype=np.uint8)  # the indices themselves, also of a palette image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SegmentError(f"cannot read the mask {path}: {error}") from None
    mask = torch.from_numpy(label_map.numpy()[values])
    if bool((mask == INVALID).any()):
        allowed = [int(v) for v in torch.nonzero(label_map != INVALID)]
        found = sorted(set(np.unique(values).tolist()) - set(allowed))
        raise SegmentError(
            f"{path} holds the label {found[0]}, but this data set's labels are {_ranges(allowed)}: "
            "is it a mask of another data set?"
        )
    return mask


def _ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] as "0 to 2 and 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return " and ".join(" to ".join(map(str, part)) for part in parts)


def label_map(num_classes: int, offset: int = 0, void: Sequence[int] = (IGNORE,)) -> Tensor:
    """The table that turns mask values into labels: value ``offset + k`` is class k, ``void`` is ignored.

    Returns:
        uint8 (256,), INVALID for every other value.
    """
    table = torch.full((256,), INVALID, dtype=torch.uint8)
    table[offset : offset + num_classes] = torch.arange(num_classes, dtype=torch.uint8)
    table[list(void)] = IGNORE
    return table


def check_headers(samples: Sequence[Sample]) -> None:
    """Open every file's header: are image and mask there, of one size, and is the mask one of indices?

    Raises:
        SegmentError: naming the first pair that is wrong.
    """
    with ThreadPoolExecutor(8) as pool:
        for problem in pool.map(_header_problem, samples):
            if problem:
                raise SegmentError(problem)


def _header_problem(sample: Sample) -> str | None:
    for path in (sample.image, sample.mask):
        if path is not None and not path.is_file():
            return f"{path} is missing (sample {sample.id!r}): remove it from the list or add the file"
    try:
        with Image.open(sample.image) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations that swap width and height
            size = image.size[::-1] if turned else image.size
        if sample.mask is None:
            return None
        with Image.open(sample.mask) as mask:
            mask_size, mode = mask.size, mask.mode
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        return f"sample {sample.id!r}: {error}"
    if mode not in {"P", "L", "1"}:
        return (
            f"the mask {sample.mask} has mode {mode}; expected one channel of class indices (PNG mode P or L): "
            "convert its colours to indices"
        )
    if mask_size != size:
        return (
            f"the mask {sample.mask} is {mask_size[0]}x{mask_size[1]}, its image {size[0]}x{size[1]} (width x height)"
        )
    return None


class SegmentationDataset(Dataset[Item]):
    """Images and masks by index.

    Args:
        samples: what to read; ``len(self)`` of them.
        table: see :func:`label_map`.
        transform: ``(Image, Mask) -> (Image, Mask)``, or None for the pair as it is.
        seed: with the draw's epoch and index it decides all that ``transform`` draws at random, so that
            an image looks the same whichever worker or rank reads it.
    """

    def __init__(self, samples: Sequence[Sample], table: Tensor, transform: Callable | None, seed: int) -> None:
        self.samples, self.table, self.transform, self.seed = samples, table, transform, seed

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_masks(self) -> bool:
        return all(sample.mask is not None for sample in self.samples)

    def id(self, index: int) -> str:
        return self.samples[index].id

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        """Image uint8 (3,H,W) and mask uint8 (H,W), untransformed; all void where there is no mask.

        Raises:
            SegmentError: a file is unreadable or a label out of range.
        """
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.mask is None:
            return image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8)
        return image, read_mask(sample.mask, self.table)

    def __getitem__(self, key: int | Draw) -> Item:
        draw = key if isinstance(key, Draw) else Draw(key)
        image, mask = self.load(draw.sample)
        if self.transform is not None:
            with torch.random.fork_rng(devices=[]):  # the training process's own draws stay as they were
                words = np.random.SeedSequence([self.seed, draw.epoch, draw.sample]).generate_state(1, np.uint64)
                torch.default_generator.manual_seed(int(words[0] >> np.uint64(1)))
                image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        if draw.filler:
            mask = torch.full_like(mask, IGNORE)
        return {
            "image": image.as_subclass(Tensor).contiguous(),
            "mask": mask.as_subclass(Tensor).long(),
            "id": self.id(draw.sample),
        }


class TrainSampler(Sampler[Draw]):
    """A rank's share of a shuffled epoch, in whole batches.

    The order is a function of seed and epoch alone. What does not fill a batch on every rank is left out
    of the epoch; a data set smaller than that is repeated until it does.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.per_rank = max(1, length // (batch_size * world_size)) * batch_size
        self.epoch = 0

    def __len__(self) -> int:
        return self.per_rank

    def set_epoch(self, epoch: int) -> None:  # Lightning calls it
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        for position in range(self.rank, self.per_rank * self.world_size, self.world_size):
            yield Draw(order[position % self.length], self.epoch)


class EvalSampler(Sampler[Draw]):
    """A rank's share of a data set in order, equally long on every rank.

    Ranks of unequal length would wait for each other for ever; Lightning's own sampler repeats images,
    which count twice. Here what fills up is marked, and its mask is void.
    """

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.rank, self.world_size = length, rank, world_size

    def __len__(self) -> int:
        return math.ceil(self.length / self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(position % self.length, filler=position >= self.length)
