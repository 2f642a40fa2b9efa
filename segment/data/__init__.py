"""Data sets, from files on disk to batches: reading, checking, augmenting, sampling, downloading.

Everything about a data set belongs here: files, labels, classes, splits, downloads. Networks, losses and metrics do
not: nothing in this folder imports :mod:`segment.models`.
"""

from typing import TYPE_CHECKING

from segment import public_names

if TYPE_CHECKING:
    from segment.data.classes import IGNORE, Classes, voc_palette
    from segment.data.datamodule import SegmentationDataModule
    from segment.data.dataset import Batch, SegmentationDataset
    from segment.data.datasets.ade20k import ADE20KDataModule
    from segment.data.datasets.ade20k_full import ADE20KFullDataModule
    from segment.data.datasets.annotated import AnnotationDataModule
    from segment.data.datasets.camvid import CamVidDataModule
    from segment.data.datasets.folder import FolderDataModule
    from segment.data.datasets.shapes import ShapesDataModule
    from segment.data.datasets.voc import AugmentedVOCDataModule, VOCDataModule
    from segment.data.downloads.fetch import Archive, Release
    from segment.data.images import read_image
    from segment.data.labels import Labels, index_labels
    from segment.data.pairs import Sample

__getattr__, __dir__, __all__ = public_names(__name__)
