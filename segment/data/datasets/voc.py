"""PASCAL VOC's segmentation task (Everingham et al., 2010) and its extension SBD (Hariharan et al., 2011)."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from segment.data.annotations.masks import CLASS_MASKS, NOT_COUNTED, OBJECT_MASKS, MaskAnnotation, read_boxes
from segment.data.classes import IGNORE, Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import SegmentationDataset
from segment.data.downloads.fetch import Archive, Release
from segment.data.labels import VOID
from segment.data.pairs import Finding, Sample
from segment.errors import SegmentError

VOC_NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
VOC = Classes(tuple(VOC_NAMES.split()), voc_palette(21))

SBD = "benchmark_RELEASE"
"""Name of SBD's folder in its archive."""
AUGMENTED_SIZE = 10582
"""Number of training images of VOC 2012 and SBD together, without those of VOC 2012 val."""


class VOCDataModule(SegmentationDataModule):
    """``VOCdevkit/VOC<year>`` as unpacked from its archives; splits train, val, trainval, test and seg11valid.

    Masks are palette PNGs of class indices; 255 is the 5-pixel border and the objects marked difficult.
    ``seg11valid`` is the validation set of the FCN papers: the images of VOC 2011 val that SBD does not train on.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``VOCdevkit`` or ``VOC<year>`` itself.
        year: year of the challenge, 2007 to 2012.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Example:
        >>> data = VOCDataModule("data/voc", year=2012, batch_size=4)
        >>> data.name, len(data.classes), len(data.ids("seg11valid"))
        ('voc', 21, 736)
    """

    name = "voc"
    downloadable = True
    classes = VOC

    def __init__(self, root: str, year: int = 2012, **loading: Any) -> None:
        super().__init__(root, **loading)
        if str(year) not in {"2007", "2008", "2009", "2010", "2011", "2012"}:
            raise SegmentError(f"data.year={year}: expected 2007 to 2012")
        self.year = int(year)
        if self.year == 2012:
            self.official_sizes = {"train": 1464, "val": 1449, "trainval": 2913, "seg11valid": 736}
        self.layout = f"VOCdevkit/VOC{year}/ with JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/"

    def missing(self) -> list[Release]:
        base = self._find_base() or self.expected_folder("VOCdevkit", f"VOC{self.year}")
        lists = {f"{self.year}": "train.txt", f"{self.year}-test": "test.txt"}
        entries = [
            DATASET_YEAR_DICT[name]
            for name, path in lists.items()
            if name in DATASET_YEAR_DICT and not (base / "ImageSets" / "Segmentation" / path).is_file()
        ]
        if not entries:
            return []
        archives = tuple(Archive(entry["url"], f"md5:{entry['md5']}") for entry in entries)
        inside = PurePosixPath(*Path(entries[0]["base_dir"]).parts)  # begins with TrainVal for 2011
        return [Release(archives, str(inside), self.below_root(base))]

    def base(self) -> Path:
        """Return the folder ``VOC<year>``."""
        return self._find_base() or self.folder("VOCdevkit", f"VOC{self.year}")

    def _find_base(self) -> Path | None:
        parts = ("VOCdevkit", f"VOC{self.year}")
        return self.find_folder(*parts) or self.find_folder("TrainVal", *parts)  # TrainVal is in 2011's archive

    def ids(self, split: str) -> list[str]:
        """Return the ids that ``ImageSets/Segmentation/<split>.txt`` lists."""
        if split == "seg11valid":
            if self.year < 2011:
                raise SegmentError(f"data.year={self.year}: seg11valid are images of VOC 2011 and 2012")
            return (files("segment.data.datasets") / "seg11valid.txt").read_text().split()
        path = self.base() / "ImageSets" / "Segmentation" / f"{split}.txt"
        if split == "test" and not path.is_file():
            raise SegmentError(
                f"{path} is missing: VOC {self.year}'s test images come in an archive of their own"
                + (", with masks" if self.year == 2007 else ", without masks, after registration at the VOC server")
            )
        return [PurePosixPath(line.split()[0]).stem for line in self.read_list(path)]

    def fingerprints(self, dataset: SegmentationDataset) -> list[tuple[str, ...]]:
        """Add each image's id to its fingerprints: SBD's copy of an image has the same id, but other bytes."""
        return [(sample.id, *own) for sample, own in zip(dataset.samples, super().fingerprints(dataset), strict=True)]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of objects of each class, and of difficult ones."""
        return self._counted[0]

    def findings(self) -> tuple[list[Finding], list[Finding]]:
        """Return a note for each file of objects that cannot be read."""
        return [], self._counted[1]

    @cached_property
    def _counted(self) -> tuple[dict[str, dict[str, int]], list[Finding]]:
        """The numbers of :meth:`counts`, and why objects are not counted."""
        objects, difficult = Counter[str](), Counter[str]()
        notes: list[Finding] = []
        for split in dict.fromkeys((self.train_split, self.val_split)):
            with suppress(SegmentError):  # reported as a problem of the split
                for name in (sample.id for sample in self.split_samples(split)):
                    for counter, read in ((objects, self._objects), (difficult, self._difficult_objects)):
                        try:
                            counter.update(read(name))
                        except SegmentError as error:
                            notes.append(Finding(NOT_COUNTED, str(error)))
        tables = (("object", objects), ("difficult object", difficult))
        return {title: dict(counts) for title, counts in tables if counts}, notes

    def _objects(self, name: str) -> list[str]:
        """Return the label of each object of an image, if it has a mask of them."""
        paths = [self.base() / folder / f"{name}.png" for folder in (CLASS_MASKS, OBJECT_MASKS)]
        if not all(path.exists() for path in paths):
            return []
        table = (*enumerate(self.classes.names), (IGNORE, VOID))
        found = MaskAnnotation(name, paths[0], paths[0], (), table=table, object_mask=paths[1]).load()
        return [item.label for item in found.objects if item.label != VOID]

    def _difficult_objects(self, name: str) -> list[str]:
        path = self.base() / "Annotations" / f"{name}.xml"
        return [box.label for box in read_boxes(path) if "difficult" in box.flags] if path.exists() else []

    def samples(self, split: str) -> list[Sample]:
        """Return the pairs of :meth:`ids`; among the test splits, only that of 2007 has masks."""
        base = self.base()
        samples = []
        for name in self.ids(split):
            mask = base / "SegmentationClass" / f"{name}.png"
            public = split != "test" or self.year == 2007 or mask.is_file()
            samples.append(Sample(name, base / "JPEGImages" / f"{name}.jpg", mask if public else None))
        return samples


class AugmentedVOCDataModule(VOCDataModule):
    """VOC 2012 whose training split joins those of VOC and SBD, without VOC's validation images.

    The additional masks come from SBD's own release (``benchmark_RELEASE/`` beside ``VOCdevkit/``, .mat files) or from
    the common ``SegmentationClassAug`` folder with ``ImageSets/Segmentation/train_aug.txt``. Neither has VOC's
    void border. Images of VOC's own training split keep VOC's masks. The split ``sbd_train`` is SBD's own training
    set of 8,498 images, on which the FCN papers train. It overlaps with VOC's val, but not with ``seg11valid``.

    Args:
        root: see :class:`VOCDataModule`.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Example:
        >>> data = AugmentedVOCDataModule("data/voc")
        >>> data.name, data.official_sizes["train"]
        ('voc_sbd', 10582)
    """

    name = "voc_sbd"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(root, 2012, **loading)
        self.official_sizes = {**self.official_sizes, "train": AUGMENTED_SIZE}

    def missing(self) -> list[Release]:
        releases = super().missing()
        if not (self._find_sbd() or self._find_list()):
            archive = Archive(SBDataset.url, f"md5:{SBDataset.md5}")
            releases.append(Release((archive,), SBD, SBD))
        return releases

    def samples(self, split: str) -> list[Sample]:
        """Return VOC's own split; for "train" also SBD's pairs, for "sbd_train" those alone.

        Raises:
            SegmentError: neither form of SBD exists, or its list names images of VOC's validation split.
        """
        if split == "sbd_train":
            base = self._find_sbd()
            if base is None:
                raise self._no_sbd()
            return _pairs(self.read_list(base / "train.txt"), base / "img", base / "cls", ".mat")
        if split != "train":
            return super().samples(split)
        own = super().samples("train")
        added = {sample.id: sample for sample in self._additional({*self.ids("val")})}  # lists repeat ids
        for sample in own:
            added.pop(sample.id, None)
        return [*own, *added.values()]

    def _additional(self, held_out: set[str]) -> list[Sample]:
        """Return SBD's pairs, none of them a held-out image.

        Raises:
            SegmentError: see :meth:`samples`.
        """
        if path := self._find_list():
            listed = [PurePosixPath(line.split()[0]).stem for line in self.read_list(path)]
            leaked = [name for name in listed if name in held_out]
            if leaked:
                raise SegmentError(f"{path} lists {len(leaked)} images of VOC 2012 val ({', '.join(leaked[:3])}, ...)")
            return _pairs(listed, self.base() / "JPEGImages", self.base() / "SegmentationClassAug", ".png")
        if sbd := self._find_sbd():
            listed = [name for part in ("train", "val") for name in self.read_list(sbd / f"{part}.txt")]
            return _pairs((name for name in listed if name not in held_out), sbd / "img", sbd / "cls", ".mat")
        raise self._no_sbd(f", or SegmentationClassAug/ and ImageSets/Segmentation/train_aug.txt in {self.base()}")

    def _no_sbd(self, otherwise: str = "") -> SegmentError:
        place = f"{SBD}/dataset/ beside VOCdevkit/ (data.download=true)"
        return SegmentError(f"no SBD at data.root={self.root}: expected {place}{otherwise}")

    def _find_list(self) -> Path | None:
        """Return the list that belongs to ``SegmentationClassAug``."""
        base = self._find_base()
        if base is None or not (base / "SegmentationClassAug").is_dir():
            return None
        lists = (base / "ImageSets" / "Segmentation" / name for name in ("train_aug.txt", "trainaug.txt"))
        return next((path for path in lists if path.is_file()), None)

    def _find_sbd(self) -> Path | None:
        """Return SBD's ``dataset`` folder, below ``root`` or beside ``VOCdevkit``."""
        base = self._find_base()
        places = [self.root, *([base.absolute().parents[1], base.resolve().parents[1]] if base else [])]
        return next((p / SBD / "dataset" for p in places if (p / SBD / "dataset").is_dir()), None)


def _pairs(ids: Iterable[str], images: Path, masks: Path, suffix: str) -> list[Sample]:
    return [Sample(name, images / f"{name}.jpg", masks / f"{name}{suffix}") for name in ids]
