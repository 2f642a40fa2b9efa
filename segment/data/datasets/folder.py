"""A user's own images and masks."""

import math
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from segment.data.annotations.sources import SPLITS
from segment.data.classes import IGNORE
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import SegmentationDataset
from segment.data.file_names import NamePattern, find_pairs, name_key, name_patterns, polygon_hint, without_suffix
from segment.data.images import IMAGE_SUFFIXES
from segment.data.labelmap import read_labelmap
from segment.data.labels import Labels, parse_classes
from segment.data.pairs import Sample
from segment.data.unknown_values import count_unknown
from segment.errors import NoSplitError, SegmentError

SPLIT_NAMES = {*SPLITS, "trainval"}
"""Names by which a list or folder is recognised as a split."""


class FolderDataModule(SegmentationDataModule):
    """A folder of images and a folder of masks. An image and its mask have the same name except for the suffix.

    Splits come from lists of names (``train.txt``, ``val.txt``) or from folders (``images/train/`` or
    ``train/images/``). Without either, a fraction of all images becomes the validation split.

    Args:
        root: the folder that holds both folders.
        classes: names by index, ``[background, cell]``, for masks with values 0, 1, 2, ... (255 is ignored); or a
            table from mask value or colour to name, ``{0: membrane, 255: cell}`` or ``{128/64/128: road}``. Values with
            the same name are one class, values named "void" are ignored. Without it, CVAT's ``labelmap.txt`` at the
            root or beside the masks gives names and colours.
        images, masks: names of the two folders.
        image_name, mask_name: patterns of the files' paths below those folders, such as "mask_{name}", "{name}.png" or
            "{folder}/{name}_mask"; see :class:`segment.data.file_names.NamePattern`.
        threshold: brightness (1 to 255) from which a pixel is of the second of two classes, for soft masks and JPEGs.
        val_fraction: share of the images that are held out for validation, without lists and folders of splits.
        split_seed: seed of that choice. It is not the run's seed, so that all runs are evaluated on the same images.
        palette: "indices" if the stored values of palette masks are the labels, even where the palettes differ.
        name: name of the data set in metrics.json and reports.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Raises:
        SegmentError: classes are missing, repeated, or of mixed kinds; an argument is out of range.

    Example:
        >>> data = FolderDataModule("cells", classes={0: "membrane", 255: "cell"})
        >>> data.classes.names, data.labels.table
        (('membrane', 'cell'), {0: 0, 255: 1})
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | Mapping[Any, str] | None = None,
        images: str = "images",
        masks: str = "masks",
        image_name: str = "{name}",
        mask_name: str = "{name}",
        threshold: float | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        palette: str | None = None,
        name: str = "folder",
        **loading: Any,
    ) -> None:
        super().__init__(root, **loading)
        self.name = name
        self.images, self.masks = images, masks
        self.table = classes or self._labelmap()
        self.classes, self._labels = parse_classes(self.table, threshold)
        self.by_index = not isinstance(self.table, Mapping)
        self.image_name, self.mask_name = name_patterns(image_name, mask_name)
        if palette not in {None, "indices"}:
            raise SegmentError(f"data.palette={palette}: expected indices, or null")
        self.palette = palette if threshold is None else "indices"
        if not 0 < val_fraction < 1:
            raise SegmentError(f"data.val_fraction={val_fraction}: expected a share between 0 and 1")
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.layout = f"{images}/ and {masks}/, or train/{images}/, train/{masks}/, val/{images}/, ..."

    def _labelmap(self) -> Mapping[str, str] | None:
        """Return the classes of CVAT's ``labelmap.txt`` at the root or beside the masks, if there is one."""
        places = (self.root / "labelmap.txt", self.root / self.masks / "labelmap.txt")
        return next((read_labelmap(path) for path in places if path.is_file()), None)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "classes": self.table}

    @property
    def labels(self) -> Labels:
        return self._labels

    def samples(self, split: str) -> list[Sample]:
        """Return the pairs of a split; without a folder of masks, images alone."""
        root = self.folder()
        folders = [(root / self.images / split, root / self.masks / split)]
        if not Path(self.images).is_absolute():  # an absolute folder would be found for every split
            folders.append((root / split / self.images, root / split / self.masks))
        own = next(((images, masks) for images, masks in folders if images.is_dir()), None)
        if (root / f"{split}.txt").is_file():
            images, masks = own or (root / self.images, root / self.masks)
            return self._listed(root / f"{split}.txt", images, masks)
        if own:
            return self._pairs(*own)
        return self._fraction(root, split)

    def _fraction(self, root: Path, split: str) -> list[Sample]:
        """Return the training or validation part of all pairs, if no list or folder names a split."""
        places = (*root.glob("*.txt"), *root.glob("*/"), *(root / self.images).glob("*/"))
        others = {path.name for path in places if self._is_split(path)}
        if split not in {"train", "val"} or others:
            folders = dict.fromkeys(f"{Path(*parts)}/" for parts in ((self.images, split), (split, self.images)))
            raise NoSplitError(
                f"no split {split!r} at data.root={root}: expected {split}.txt, {' or '.join(folders)}"
                + (f"; found {', '.join(sorted(others))}" if others else "")
            )
        samples = self._pairs(root / self.images, root / self.masks)
        if len(samples) < 2:
            raise NoSplitError(
                f"{root / self.images} has one image: expected at least one for training and one for validation"
            )
        # Ordered by a hash of the name, so that adding images moves few of the others to another split.
        order = sorted(samples, key=lambda sample: sha256(f"{self.split_seed}/{sample.id}".encode()).digest())
        held_out = {sample.id for sample in order[: max(1, round(len(samples) * self.val_fraction))]}
        return [sample for sample in samples if (sample.id in held_out) == (split == "val")]

    def _is_split(self, path: Path) -> bool:
        """Return True for a list or folder with the name of a split, but not for README.txt or classes.txt."""
        exists = path.suffix == ".txt" or path.parent.name == Path(self.images).name or (path / self.images).is_dir()
        return exists and path.stem in SPLIT_NAMES

    def _pairs(self, images: Path, masks: Path) -> list[Sample]:
        if not images.is_dir():
            found = ", ".join(sorted(path.name for path in self.root.glob("[!.]*/"))) or "none"
            raise SegmentError(
                f"no folder {images}: expected {self.layout} at data.root={self.root}, which has the folders: {found}. "
                "data.images= and data.masks= give their names, '.' for the root itself"
            )
        return find_pairs(images, masks, self.image_name, self.mask_name)

    def _listed(self, path: Path, images: Path, masks: Path) -> list[Sample]:
        pairs = self._pairs(images, masks)
        known = {name_key(sample.id): sample for sample in pairs} | {sample.id: sample for sample in pairs}
        samples = []
        for line in self.read_list(path):
            # A name may have spaces; after a name without spaces the mask's name may follow.
            names = [name for text in (line, line.split()[0]) for name in _endings(text)]
            sample = next((known[name] for name in names if name in known), None)
            if sample is None:
                place = images / line
                same = place.parent.glob(f"{escape(place.name)}*")
                others = sorted(other.name for other in same if place in {other, other.with_suffix("")})
                expected = ", ".join(sorted(IMAGE_SUFFIXES))
                hint = f": {', '.join(others)} has a suffix other than {expected}" if others else ""
                raise SegmentError(f"{path} lists {line!r}, but there is no such image in {images}{hint}")
            samples.append(sample)
        return samples

    def image_stem(self, mask: Path) -> str | None:
        parts = [pattern.text.rpartition("/")[::2] for pattern in (self.image_name, self.mask_name)]
        (image_folder, image), (mask_folder, own) = parts
        if image_folder != mask_folder or "{folder}" in image + own or "{name}" not in own:
            return None
        fields = NamePattern("data.mask_name", own).fields(mask.name)
        return NamePattern("data.image_name", image).fill(fields) if fields else None

    def check_dataset(self, dataset: SegmentationDataset) -> None:
        """Check the headers and the values of four masks, and that not all masks are of one class by mistake.

        They are if they hold only 0 and 255 and 255 means "ignore", or if none reaches the threshold.
        """
        super().check_dataset(dataset)
        masks = [sample.mask for sample in dataset.samples if sample.mask]
        if any(one.pixels for one in count_unknown(masks[:: len(masks) // 4 + 1], self.labels)):
            raise dataset.unknown_values()
        threshold = self.labels.threshold
        if threshold is None and not self.by_index:
            return
        dark = {0, IGNORE} if threshold is None else {*range(math.ceil(threshold))}
        found = self._values(dataset.samples, dark)
        for split in (self.train_split, self.val_split):
            if found and found <= dark:  # a few masks may have no object: look at the other split, too
                with suppress(SegmentError):
                    found |= self._values(self.split_samples(split), dark)
        if threshold is not None and found and found <= dark:
            raise SegmentError(
                f"the masks at data.root={self.root} are nowhere as bright as data.threshold={threshold:g}: their "
                f"brightest value is {max(found)}"
            )
        if threshold is None and found == dark:
            raise SegmentError(
                f"the masks at data.root={self.root} hold 0 and 255 alone, and 255 means 'ignore': if it is a class, "
                "say so with data.classes={0:background,255:NAME}"
            )

    def require_masks(self, split: str, dataset: SegmentationDataset) -> None:
        try:
            super().require_masks(split, dataset)
        except SegmentError as error:
            raise SegmentError(f"{error}{polygon_hint(*{sample.image.parent for sample in dataset.samples})}") from None

    def _values(self, samples: Sequence[Sample], dark: Set[int]) -> set[int]:
        """Return the values of the masks up to the first one with other values than ``dark``, usually the first."""
        found: set[int] = set()
        for sample in samples:
            if sample.mask is not None and found <= dark:
                found |= {*np.unique(self.labels.read_values(sample.mask)).tolist()}
        return found


def _endings(text: str) -> list[str]:
    """Return the path that a line of a list names, without a suffix, and its endings, such as "a/1" and "1"."""
    parts = without_suffix(text)[0].split("/")
    paths = ["/".join(parts[i:]) for i in range(len(parts))]
    return [name for path in paths for name in (path, name_key(path))]
