"""Pairs of image and mask on disk: how they are checked, read and handed to the loader."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from segment.data.classes import IGNORE
from segment.data.images import image_fingerprint, read_image
from segment.data.labels import Labels
from segment.data.samplers import Draw
from segment.errors import SegmentError


class Sample(NamedTuple):
    """One image and its mask (None where the masks are not public)."""

    id: str
    image: Path
    mask: Path | None


class Item(TypedDict):
    """image: uint8 (3,H,W) RGB; mask: uint8 (H,W), 255 where no class is known; id: the sample's name."""

    image: Tensor
    mask: Tensor
    id: str


class Batch(TypedDict):
    """image: uint8 (N,3,H,W) RGB; mask: uint8 (N,H,W), 255 where no class is known; id: the samples' names."""

    image: Tensor
    mask: Tensor
    id: list[str]


def as_it_is(batch: Any) -> Any:
    """What a loader does with the batches of :meth:`SegmentationDataset.__getitems__`."""
    return batch


class Problem(NamedTuple):
    """What is wrong with a pair: a short word for its kind, and a sentence that names the file."""

    kind: str
    message: str


def header_problem(sample: Sample, labels: Labels) -> Problem | None:
    """What the files' headers tell: are image and mask there, of one size, and is the mask of the right mode?"""
    for kind, path in (("image", sample.image), ("mask", sample.mask)):
        if path is not None and not path.is_file():
            return Problem(f"missing {kind}", f"{path} is missing (sample {sample.id!r}): add it, or unlist the sample")
    path = sample.image
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112) in {5, 6, 7, 8}  # orientations that swap width and height
            size = image.size[::-1] if turned else image.size
            if image.mode in {"I", "F"}:  # how bright is its brightest? Not even alike in all of them
                return Problem("image mode", f"{path} has 32 bits a pixel (mode {image.mode}): save it with 8 or 16")
            if image.format == "TIFF" and (pages := getattr(image, "n_frames", 1)) > 1:
                return Problem("several pages", f"{path} has {pages} pages: make each an image file of its own")
        if sample.mask is None or sample.mask.suffix == ".mat":
            return None
        path = sample.mask
        with Image.open(path) as mask:
            mask_size, mode, file_format = mask.size, mask.mode, mask.format
    except Exception as error:  # PIL raises whatever a broken file makes it run into
        kind = "mask" if path == sample.mask else "image"
        return Problem(f"unreadable {kind}", f"cannot read {path}: {error or type(error).__name__}")
    if file_format == "JPEG":
        return Problem("lossy mask", f"the mask {path} is a JPEG, which changes labels: masks have to be PNGs")
    if mode not in labels.modes:
        hint = (
            "expected colours (PNG mode RGB or P)"
            if labels.coloured
            else "expected 8 bits: save it with fewer"
            if mode.startswith("I")
            else "expected one channel of class indices (PNG mode P or L): convert its colours to indices, "
            "or give data=folder a table of them in data.classes"
        )
        return Problem("mask mode", f"the mask {path} has mode {mode}; {hint}")
    problem = size_problem(path, mask_size, size)
    if problem and turned:
        return problem._replace(message=f"{problem.message}, once turned upright as its EXIF orientation says")
    return problem


def size_problem(mask: Path, mask_size: Sequence[int], size: Sequence[int]) -> Problem | None:
    """Whether a mask has its image's (width, height)."""
    if tuple(mask_size) == tuple(size):
        return None
    return Problem(
        "mask size",
        f"the mask {mask} is {mask_size[0]}x{mask_size[1]}, its image {size[0]}x{size[1]} (width x height)",
    )


def read_pair(sample: Sample, labels: Labels) -> tuple[Tensor, Tensor | None] | Problem:
    """Image uint8 (3,H,W) and mask uint8 (H,W), None where there is none; or what is wrong with the files' content."""
    kind = "unreadable image"
    try:
        image = read_image(sample.image)
        if sample.mask is None:
            return image, None
        kind = "unreadable mask"
        values = labels.values(sample.mask)
        kind = "label out of range"
        mask = labels.translate(values, sample.mask)
    except SegmentError as error:
        return Problem(kind, str(error))
    return size_problem(sample.mask, mask.shape[::-1], image.shape[:0:-1]) or (image, mask)


def check_headers(samples: Sequence[Sample], labels: Labels) -> None:
    """Look at every file's header before anything is trained.

    Raises:
        SegmentError: naming the first pair that is wrong.
    """
    with ThreadPoolExecutor(8) as pool:
        for problem in pool.map(header_problem, samples, repeat(labels)):
            if problem:
                raise SegmentError(problem.message)


def seed_of(*numbers: int) -> int:
    """A seed for torch's generators that depends on each of the numbers and on their order."""
    words = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


class SegmentationDataset(Dataset[Item]):
    """Images and masks by index.

    Args:
        samples: what to read; ``len(self)`` of them.
        labels: what the masks' values stand for.
        transform: ``(Image, Mask) -> (Image, Mask)``, or None for the pair as it is.
        seed: with the draw's epoch and index it decides all that ``transform`` draws at random, so that
            an image looks the same whichever worker or rank reads it.
    """

    def __init__(self, samples: Sequence[Sample], labels: Labels, transform: Callable | None, seed: int) -> None:
        self.samples, self.labels, self.transform, self.seed = samples, labels, transform, seed

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_masks(self) -> bool:
        return all(sample.mask is not None for sample in self.samples)

    def id(self, index: int) -> str:
        return self.samples[index].id

    def identity(self) -> Any:
        """What tells this data set from another one, as plain data: names and sizes of its files, and its labels."""
        files = [(s.id, *(path and path.stat().st_size for path in (s.image, s.mask))) for s in self.samples]
        return files, sorted(self.labels.table.items())

    def content_hash(self) -> str:
        """Return a hash of :meth:`identity`. No file is opened for it and no folder is named in it: data may move."""
        return hashlib.sha256(repr(self.identity()).encode()).hexdigest()[:16]

    @cached_property
    def image_fingerprints(self) -> list[str]:
        """The fingerprint of each image, whatever its name; see :func:`segment.data.images.image_fingerprint`."""
        with ThreadPoolExecutor(8) as pool:
            return [*pool.map(image_fingerprint, (sample.image for sample in self.samples))]

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        """Image uint8 (3,H,W) and mask uint8 (H,W), untransformed; all void where there is no mask.

        Raises:
            SegmentError: a file is unreadable, of another size than its partner, or a label out of range.
        """
        found = read_pair(self.samples[index], self.labels)
        if isinstance(found, Problem):
            raise SegmentError(found.message)
        image, mask = found
        return image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8) if mask is None else mask

    def __getitem__(self, key: int | Draw) -> Item:
        draw = key if isinstance(key, Draw) else Draw(key)
        image, mask = self.load(draw.sample)
        if self.transform is not None:
            with torch.random.fork_rng(devices=[]):  # the training process's own draws stay as they were
                torch.default_generator.manual_seed(seed_of(self.seed, draw.epoch, draw.sample, draw.repetition))
                image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        if draw.filler:
            mask = torch.full_like(mask, IGNORE)
        return {
            "image": image.as_subclass(Tensor),
            "mask": mask.as_subclass(Tensor),
            "id": self.id(draw.sample),
        }

    def __getitems__(self, keys: Sequence[int | Draw]) -> Batch:
        """A batch of items of one size; torch's loaders ask for it where a data set has it.

        Each item goes into its place at once: its memory serves for the next one, which is faster than
        collecting items first. Images are channels last, as they are decoded, and as convolutions like it.
        """
        for i, key in enumerate(keys):
            item = self[key]
            if i == 0:
                shape = (len(keys), *item["image"].shape)
                image = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
                mask = torch.empty((len(keys), *item["mask"].shape), dtype=torch.uint8)
                ids = []
            image[i].copy_(item["image"])
            mask[i].copy_(item["mask"])
            ids.append(item["id"])
        return {"image": image, "mask": mask, "id": ids}
