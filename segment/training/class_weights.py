"""The weights of ``loss.class_weights=auto``: one divided by the square root of each class's share of the pixels."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from segment.console import print_once
from segment.data.dataset import SegmentationDataset
from segment.errors import SegmentError

KEY, AUTO = "class_weights", "auto"


def fill_in(loss: Any, weights: Any) -> Any:
    """Return a loss's configuration, plain data, with the weights in place of each ``class_weights: auto``."""
    if isinstance(loss, list):
        return [fill_in(part, weights) for part in loss]
    if not isinstance(loss, Mapping):
        return loss
    return {key: weights if (key, part) == (KEY, AUTO) else fill_in(part, weights) for key, part in loss.items()}


def find_class_weights(
    loss: Any, data: Any, resumed: Mapping[str, Any] | None, repeated: Mapping[str, Any] | None
) -> list[float] | None:
    """Return the weights that a loss asks for; None if it asks for none.

    They are counted once: a resumed run takes those of its record, since it has to train on with the same loss. A
    repeated run takes those of the record if its files are the same.

    Args:
        loss: its configuration, plain data.
        data: the data module.
        resumed, repeated: ``provenance.json`` of the run that is resumed or repeated, if there is one.

    Raises:
        SegmentError: a mask cannot be read, or no pixel is labelled.
    """
    if fill_in(loss, None) == loss:
        return None
    if repeated and repeated.get("data") != data.listing_hashes():
        repeated = None
    recorded = (record.get(KEY) for record in (resumed, repeated) if record)
    return next(filter(None, recorded), None) or count_class_weights(
        data.dataset(data.train_split, augment=True), len(data.classes)
    )


def count_class_weights(dataset: SegmentationDataset, num_classes: int) -> list[float]:
    """Return one divided by the square root of each class's share of the labelled pixels; 0 for a class without one.

    Raises:
        SegmentError: a mask cannot be read, or no pixel is labelled.
    """
    print_once(f"counting the pixels of each class in {len(dataset)} images for loss.class_weights=auto")
    pool = ThreadPoolExecutor(8)
    try:
        rows = pool.map(lambda i: np.bincount(dataset.load(i)[1].numpy().ravel(), minlength=256), range(len(dataset)))
        pixels = np.sum([*rows], 0)[:num_classes].tolist()
    finally:
        pool.shutdown(cancel_futures=True)
    if not any(pixels):
        raise SegmentError("loss.class_weights=auto: no pixel of the training split is labelled; see segment.check")
    return [math.sqrt(sum(pixels) / count) if count else 0.0 for count in pixels]
