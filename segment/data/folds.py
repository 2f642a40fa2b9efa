"""Cross-validation: images that are divided into folds, each of which is held out once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from segment.data.image_groups import group_images
from segment.data.pairs import Sample
from segment.errors import SegmentError


class Folds(NamedTuple):
    """One training of a cross-validation: the images of some splits without a fold, which validates.

    Args:
        number: of folds.
        fold: the fold that is held out, from 0.
        splits: splits whose images are divided.
        seed: of the division.

    Example:
        >>> Folds(5, 0, ("train", "val"), seed=0).describe()
        '5 folds of train+val'
    """

    number: int
    fold: int
    splits: tuple[str, ...]
    seed: int

    def describe(self) -> str:
        """Return what is divided."""
        return f"{self.number} folds of {'+'.join(self.splits)}"


class DividedImages(NamedTuple):
    """The images of a cross-validation, each with its group, None where images are independent, and its fold."""

    samples: list[Sample]
    groups: list[str] | None
    folds: list[int]


def read_folds(number: int | None, fold: int | None, splits: Sequence[str], seed: int) -> Folds | None:
    """Return the folds that ``data.folds``, ``fold``, ``folds_from`` and ``folds_seed`` describe; None without any.

    Raises:
        SegmentError: a value is missing, out of range, or names a test split.
    """
    if number is None:
        if fold is not None:
            raise SegmentError(f"data.fold={fold}: data.folds=, the number of folds, is missing")
        return None
    if number < 2:
        raise SegmentError(f"data.folds={number}: expected a number from 2, or null")
    if fold is None or not 0 <= fold < number:
        every = ",".join(map(str, range(min(number, 10))))
        raise SegmentError(
            f"data.fold={'null' if fold is None else fold}: expected 0 to {number - 1}, the fold that is held out; "
            f"-m data.fold={every} trains on each"
        )
    if not splits or any(split.startswith("test") for split in splits):
        raise SegmentError(
            f"data.folds_from=[{','.join(splits)}]: expected splits such as [train] or [train,val], and no test split"
        )
    return Folds(number, fold, tuple(splits), seed)


def assign_folds(units: Sequence[str], number: int, seed: int) -> list[int]:
    """Return the fold of each image. The units are placed by size, the largest first, each in the fold with the fewest.

    Args:
        units: group of each image, or its id where images are independent; the images of a unit stay together.
        number: of folds.
        seed: order of units of the same size.

    Raises:
        SegmentError: there are fewer units than folds.

    Example:
        >>> assign_folds(["a", "a", "b", "c"], number=2, seed=0)
        [0, 0, 1, 1]
    """
    sizes = Counter(units)
    if len(sizes) < number:
        found = ", ".join(sorted(map(str, sizes))[:3])
        raise SegmentError(
            f"data.folds={number}: there are only {len(sizes)} images or groups of images to divide: {found}"
        )
    order = sorted(sizes, key=lambda unit: (-sizes[unit], sha256(f"{seed}/{unit}".encode()).digest()))
    filled, chosen = [0] * number, {}
    for unit in order:
        chosen[unit] = filled.index(min(filled))
        filled[chosen[unit]] += sizes[unit]
    return [chosen[unit] for unit in units]


def divide(samples: Sequence[Sample], folds: Folds, groups: Mapping[str, Any]) -> DividedImages:
    """Divide images into folds; an image that two splits list counts once.

    Args:
        samples: of all splits.
        folds: see :class:`Folds`.
        groups: arguments of :func:`segment.data.image_groups.group_images`.

    Raises:
        SegmentError: two images have the same id, or there are too few.
    """
    pool = [*{sample.image: sample for sample in samples}.values()]
    ids = [sample.id for sample in pool]
    if twice := [id for id, count in Counter(ids).items() if count > 1]:
        raise SegmentError(f"data.folds_from=[{','.join(folds.splits)}]: several images are called {twice[0]!r}")
    of_images = group_images(ids, **groups)
    return DividedImages(pool, of_images, assign_folds(of_images or ids, folds.number, folds.seed))
