"""Data sets, from files on disk to batches: reading, checking, augmenting, sampling, downloading.

Here belongs all that is known about a data set: its files, labels, classes, splits and downloads. Networks, losses and
metrics do not: nothing in this folder imports :mod:`segment.models`.
"""

# ruff: noqa: F401 (the imports are the public names)

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:  # what mypy and editors read; keep in step with the table below
    from segment.data.classes import IGNORE, Classes, voc_palette
    from segment.data.datamodule import SegmentationDataModule
    from segment.data.dataset import Batch, Item, SegmentationDataset
    from segment.data.datasets.ade20k import ADE20KDataModule
    from segment.data.datasets.camvid import CamVidDataModule
    from segment.data.datasets.folder import FolderDataModule
    from segment.data.datasets.shapes import ShapesDataModule
    from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
    from segment.data.downloads.fetch import Archive, Release
    from segment.data.images import read_image
    from segment.data.labels import Labels, index_labels
    from segment.data.pairs import Sample

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classes": ["IGNORE", "Classes", "voc_palette"],
        "datamodule": ["SegmentationDataModule"],
        "dataset": ["Batch", "Item", "SegmentationDataset"],
        "datasets.ade20k": ["ADE20KDataModule"],
        "datasets.camvid": ["CamVidDataModule"],
        "datasets.folder": ["FolderDataModule"],
        "datasets.shapes": ["ShapesDataModule"],
        "datasets.voc": ["AugmentedVOCDataModule", "VOCDataModule"],
        "downloads.fetch": ["Archive", "Release"],
        "images": ["read_image"],
        "labels": ["Labels", "index_labels"],
        "pairs": ["Sample"],
    },
)
