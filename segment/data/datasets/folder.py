"""Own images and masks."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segment.data.classes import IGNORE, Classes, Colour, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Sample, SegmentationDataset
from segment.data.images import IMAGE_SUFFIXES
from segment.data.labels import Labels
from segment.errors import SegmentError

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "trainval"}
"""Names that a list or folder of a split may have."""

VOID = "void"
"""The name of values that are no class: they are ignored."""


class FolderDataModule(SegmentationDataModule):
    """A folder of images and a folder of masks; an image and its mask have the same name but for the suffix.

    The splits are taken from what is there: lists of names (``train.txt``, ``val.txt``), folders (``images/train/`` or
    ``train/images/``), or else a fraction of all images, drawn by ``split_seed``.

    Args:
        root: the folder that holds the two.
        classes: names by index, ``[background, cell]``, for masks that hold 0, 1, 2, ... (255 is ignored); or a
            table from mask value or colour to name, ``{0: membrane, 255: cell}`` or ``{128/64/128: road}``. Values of
            one name are one class, values named "void" are ignored.
        images, masks: names of the two folders.
        mask_suffix: what a mask's name has behind its image's, before the ``.png``.
        val_fraction: share of the images that are the validation split, where neither lists nor folders say.
        split_seed: of that choice; it is not the run's seed, so that all runs measure on the same images.
        name: name of the data set in metrics.json and reports.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Raises:
        SegmentError: the classes are none, repeated, or of mixed kinds.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | Mapping[Any, str] | None = None,
        images: str = "images",
        masks: str = "masks",
        mask_suffix: str = "",
        val_fraction: float = 0.2,
        split_seed: int = 0,
        name: str = "folder",
        **loading: Any,
    ) -> None:
        super().__init__(root, **loading)
        self.name = name
        self.classes, self._labels = read_classes(classes)
        self.by_index = not isinstance(classes, Mapping)
        self.images, self.masks, self.mask_suffix = images, masks, mask_suffix
        if not 0 < val_fraction < 1:
            raise SegmentError(f"data.val_fraction={val_fraction}: expected a share between 0 and 1")
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.layout = f"{images}/ and {masks}/, or train/{images}/, train/{masks}/, val/{images}/, ..."

    @property
    def labels(self) -> Labels:
        return self._labels

    def samples(self, split: str) -> list[Sample]:
        """The pairs of a split; without a masks folder, images alone."""
        root = self.folder()
        folders = [(root / self.images / split, root / self.masks / split)]
        if not Path(self.images).is_absolute():  # or this were that folder itself, for each split
            folders.append((root / split / self.images, root / split / self.masks))
        own = next(((images, masks) for images, masks in folders if images.is_dir()), None)
        if (root / f"{split}.txt").is_file():
            images, masks = own or (root / self.images, root / self.masks)
            return self._listed(root / f"{split}.txt", images, masks)
        if own:
            return list(self._pairs(*own).values())
        places = (*root.glob("*.txt"), *root.glob("*/"), *(root / self.images).glob("*/"))
        others = {path.name for path in places if self._is_split(path)}
        if split not in {"train", "val"} or others or not (root / self.images).is_dir():
            raise SegmentError(
                f"no split {split!r} at data.root={root}: expected {split}.txt, {self.images}/{split}/ or "
                f"{split}/{self.images}/" + (f"; found {', '.join(sorted(others))}" if others else "")
            )
        samples = list(self._pairs(root / self.images, root / self.masks).values())
        if len(samples) < 2:
            raise SegmentError(f"{root / self.images} has one image; a training and a validation split want one each")
        # In an order of their names, so that further images move none but a few of these to the other split.
        order = sorted(samples, key=lambda sample: sha256(f"{self.split_seed}/{sample.id}".encode()).digest())
        held_out = {sample.id for sample in order[: max(1, round(len(samples) * self.val_fraction))]}
        return [sample for sample in samples if (sample.id in held_out) == (split == "val")]

    def _is_split(self, path: Path) -> bool:
        """Whether a list or folder has the name of a split; a README.txt or classes.txt has not."""
        there = path.suffix == ".txt" or path.parent.name == Path(self.images).name or (path / self.images).is_dir()
        return there and path.stem in SPLITS

    def _pairs(self, images: Path, masks: Path) -> dict[str, Sample]:
        """Samples by the image's name without its suffix, in the order of names."""
        if not images.is_dir():
            raise SegmentError(f"no folder {images}: expected {self.layout} at data.root={self.root}")
        present = {path.stem: path for path in _files(masks)} if masks.is_dir() else None
        pairs: dict[str, Sample] = {}
        for path in _files(images):
            if images == masks and self.mask_suffix and path.stem.endswith(self.mask_suffix):
                continue
            if path.stem in pairs:
                raise SegmentError(f"{pairs[path.stem].image} and {path} have one name: whose is the mask?")
            name = f"{path.stem}{self.mask_suffix}"
            mask = None if present is None else present.get(name, masks / f"{name}.png")
            pairs[path.stem] = Sample(path.stem, path, mask)
        if not pairs:
            deeper = next((path for path in images.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES), None)
            hint = f"; {deeper} lies deeper than train/, val/ and test/" if deeper else ""
            raise SegmentError(f"no image in {images} ({', '.join(sorted(IMAGE_SUFFIXES))}){hint}")
        if present and not any(pair.mask in present.values() for pair in pairs.values()):
            example = next(iter(present.values())).name
            raise SegmentError(
                f"no image in {images} has a mask of its name in {masks}, where there is {example}: "
                "set data.mask_suffix to what the masks' names have more"
            )
        return pairs

    def _listed(self, path: Path, images: Path, masks: Path) -> list[Sample]:
        pairs = self._pairs(images, masks)
        samples = []
        for line in self.list_ids(path):
            # A name may have spaces; behind a name without any there may be the mask's.
            sample = pairs.get(_stem(line)) or pairs.get(_stem(line.split()[0]))
            if sample is None:
                raise SegmentError(f"{path} lists {line!r}, but there is no such image in {images}")
            samples.append(sample)
        return samples

    def inspect(self, dataset: SegmentationDataset) -> None:
        """Headers as of any data set; masks of nothing but 0 and 255 are refused where 255 would be "ignore"."""
        super().inspect(dataset)
        if not self.by_index:
            return
        seen = self._values(dataset.samples)
        for split in (self.train_split, self.val_split):
            if seen == {0, IGNORE}:  # what of the others? A few masks may well have no object
                with suppress(SegmentError):
                    seen |= self._values(self.samples(split))
        if seen == {0, IGNORE}:
            raise SegmentError(
                f"the masks at data.root={self.root} hold 0 and 255 alone, and 255 means 'ignore': if it is a class, "
                "say so with data.classes={0:background,255:NAME}"
            )

    def _values(self, samples: Sequence[Sample]) -> set[int]:
        """The values of the masks up to the first one, as a rule the first at all, that has more than 0 and 255."""
        seen: set[int] = set()
        for sample in samples:
            if sample.mask is not None and not seen - {0, IGNORE}:
                seen |= {*np.unique(self.labels.values(sample.mask)).tolist()}
        return seen


def read_classes(classes: Sequence[str] | Mapping[Any, str] | None) -> tuple[Classes, Labels]:
    """What ``data.classes`` says: names in order of index, or a table from value or colour to name.

    Raises:
        SegmentError: it says nothing usable.
    """
    if not classes:
        raise SegmentError(
            "data.classes is missing: give the names in order of index, data.classes=[background,cell], or a table of "
            "mask values, data.classes={0:background,255:cell}, or of colours, data.classes={128/64/128:road}"
        )
    if isinstance(classes, str):
        raise SegmentError(f"data.classes={classes}: expected a list, [{classes},...], or a table, {{0:{classes},...}}")
    if not isinstance(classes, Mapping):
        names = [str(name) for name in classes if str(name) != VOID]
        if len({*names}) < len(names):
            raise SegmentError(f"data.classes: {', '.join(sorted({n for n in names if names.count(n) > 1}))} repeated")
        classes = {**dict(enumerate(classes)), IGNORE: VOID}
    values = {_value(key): str(name) for key, name in classes.items()}
    if len({isinstance(value, tuple) for value in values}) > 1:
        raise SegmentError("data.classes: either mask values or colours, not both")
    names = [name for name in dict.fromkeys(values.values()) if name != VOID]
    if not 1 < len(names) <= 254:
        raise SegmentError(f"data.classes names {len(names)} classes; expected 2 to 254")
    own = {name: value for value, name in reversed(values.items()) if isinstance(value, tuple)}
    colours = tuple(own[name] for name in names) if own else voc_palette(len(names))
    labels = {value: IGNORE if name == VOID else names.index(name) for value, name in values.items()}
    return Classes(tuple(names), colours), Labels(labels)


def _value(key: Any) -> int | Colour:
    """A key of the table: a mask value, or a colour as "128/64/128" or "#804080"."""
    text = str(key).strip()
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    if re.fullmatch(r"\d{1,3}/\d{1,3}/\d{1,3}", text):  # Hydra's grammar has no # in a key
        red, green, blue = map(int, text.split("/"))
        if max(red, green, blue) <= 255:
            return red, green, blue
    if text.isdecimal() and int(text) <= 255:
        return int(text)
    raise SegmentError(f"data.classes: {text!r} is neither a mask value from 0 to 255 nor a colour RED/GREEN/BLUE")


def _files(folder: Path) -> list[Path]:
    """The image files of a folder by name, without those that macOS hides beside them."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _stem(line: str) -> str:
    name = PurePosixPath(line).name
    return name.rsplit(".", 1)[0] if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES else name
