"""Transforms of torchvision, or of the user's own, that are applied to training crops (``data.augment``)."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segment.data.classes import IGNORE
from segment.errors import SegmentError


class Augmentation:
    """Apply transforms of torchvision's v2 to an image and its mask, and check that both keep size and type.

    Masks are filled with 255 where a transform fills, and images with its ``fill``. An own transform is called with the
    image (C,H,W) and the mask (H,W), and has to fill masks itself.

    Args:
        transforms: they run in this order.

    Raises:
        SegmentError: one of them is no transform of v2, or fills masks with class 0 in any case.

    Example:
        >>> image = tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.uint8))
        >>> _, mask = Augmentation([v2.RandomAffine(0, translate=(0.9, 0.9))])(image, tv_tensors.Mask(image[0]))
        >>> {*mask.unique().tolist()} <= {0, 255}
        True
    """

    def __init__(self, transforms: Sequence[v2.Transform]) -> None:
        for transform in transforms:
            if not isinstance(transform, v2.Transform):
                raise SegmentError(
                    f"data.augment has {transform!r:.60}, expected tables with the _target_ of a transform, such as "
                    "torchvision.transforms.v2.GaussianBlur"
                )
            for part in _parts(transform):
                if isinstance(part, v2.CenterCrop):
                    raise SegmentError("data.augment: CenterCrop fills masks with class 0; use Pad and RandomCrop")
                if hasattr(part, "_fill"):
                    part._fill = {**part._fill, tv_tensors.Mask: IGNORE}
        self.transforms = transforms

    def __call__(self, image: tv_tensors.Image, mask: tv_tensors.Mask) -> tuple[Tensor, Tensor]:
        """Transform an image uint8 (C,H,W) and its mask uint8 (H,W).

        Raises:
            SegmentError: a transform cannot be used with a mask, or changes the size or the type.
        """
        for transform in self.transforms:
            try:
                changed = transform(image, mask)
            except (TypeError, ValueError, RuntimeError) as error:
                raise SegmentError(
                    f"data.augment: {type(transform).__name__}: {' '.join(str(error).split())}"
                ) from error
            expected, found = _describe((image, mask)), _describe(changed)
            if found != expected:
                raise SegmentError(
                    f"data.augment: {type(transform).__name__} makes {found} of {expected}: expected the same size and "
                    "type, since crops are stacked to batches of bytes"
                )
            image, mask = changed
        return image, mask


def _parts(transform: v2.Transform) -> Iterator[v2.Transform]:
    """Yield a transform and those that it consists of."""
    yield transform
    for part in getattr(transform, "transforms", ()):
        yield from _parts(part)


def _describe(pair: object) -> str:
    """Return types and sizes of an image and a mask."""
    if not (isinstance(pair, tuple | list) and all(isinstance(one, Tensor) for one in pair)):
        return " and ".join(type(one).__name__ for one in pair) if isinstance(pair, tuple | list) else str(type(pair))
    return " and ".join(f"{str(one.dtype).removeprefix('torch.')} {'x'.join(map(str, one.shape))}" for one in pair)


def seed_generators(seed: int) -> None:
    """Seed torch's CPU generator, NumPy and ``random``.

    NumPy's is its old, global generator: an own transform that has none may use it.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the global one is meant
    torch.default_generator.manual_seed(seed)


@contextmanager
def generators_restored() -> Iterator[None]:
    """Restore the generators of :func:`seed_generators` at the end of a block. This takes longer than to seed them."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # as above
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  # as above
