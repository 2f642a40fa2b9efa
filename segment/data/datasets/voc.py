"""PASCAL VOC's segmentation task (Everingham et al., 2010) and its extension by SBD (Hariharan et al., 2011)."""

from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from segment.data.classes import Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule
from segment.data.dataset import Sample, SegmentationDataset
from segment.data.downloads.fetch import Archive, Release
from segment.errors import SegmentError

NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
VOC = Classes(tuple(NAMES.split()), voc_palette(21))

SBD = "benchmark_RELEASE"
AUGMENTED_SIZE = 10582
"""Training images of VOC 2012 and SBD together, without those of VOC 2012 val."""


class VOCDataModule(SegmentationDataModule):
    """``VOCdevkit/VOC<year>`` as its archives unpack it; splits train, val, trainval, test and seg11valid.

    Masks are palette PNGs of class indices; 255 is the 5-pixel border and the objects marked difficult.
    ``seg11valid`` is the validation set of the FCN papers: the images of VOC 2011 val that SBD does not train on.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``VOCdevkit`` or ``VOC<year>`` itself.
        year: of the challenge, 2007 to 2012.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.
    """

    name = "voc"
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
        base = self._find() or self.place("VOCdevkit", f"VOC{self.year}")
        lists = {f"{self.year}": "train.txt", f"{self.year}-test": "test.txt"}
        facts = [
            DATASET_YEAR_DICT[name]
            for name, path in lists.items()
            if name in DATASET_YEAR_DICT and not (base / "ImageSets" / "Segmentation" / path).is_file()
        ]
        if not facts:
            return []
        archives = tuple(Archive(fact["url"], f"md5:{fact['md5']}") for fact in facts)
        inside = PurePosixPath(*Path(facts[0]["base_dir"]).parts)  # that of 2011 begins with TrainVal
        return [Release(archives, str(inside), self.within(base))]

    def base(self) -> Path:
        """The folder ``VOC<year>``."""
        return self._find() or self.folder("VOCdevkit", f"VOC{self.year}")

    def _find(self) -> Path | None:
        parts = ("VOCdevkit", f"VOC{self.year}")
        return self.find(*parts) or self.find("TrainVal", *parts)  # the latter as 2011's archive has it

    def ids(self, split: str) -> list[str]:
        """The ids that ``ImageSets/Segmentation/<split>.txt`` lists."""
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
        return [PurePosixPath(line.split()[0]).stem for line in self.list_ids(path)]

    def fingerprints(self, dataset: SegmentationDataset) -> list[tuple[str, ...]]:
        """Add the id of each image: SBD has the image under the same id, encoded anew."""
        return [(sample.id, *own) for sample, own in zip(dataset.samples, super().fingerprints(dataset), strict=True)]

    def samples(self, split: str) -> list[Sample]:
        """The pairs of :meth:`ids`; of the test splits only that of 2007 has masks."""
        base = self.base()
        samples = []
        for name in self.ids(split):
            mask = base / "SegmentationClass" / f"{name}.png"
            public = split != "test" or self.year == 2007 or mask.is_file()
            samples.append(Sample(name, base / "JPEGImages" / f"{name}.jpg", mask if public else None))
        return samples


class AugmentedVOCDataModule(VOCDataModule):
    """VOC 2012 whose training split is that of VOC and SBD together, without VOC's validation images.

    The further masks are those of SBD's own release (``benchmark_RELEASE/`` beside ``VOCdevkit/``, .mat files) or of
    the common ``SegmentationClassAug`` folder with ``ImageSets/Segmentation/train_aug.txt``. Neither has VOC's
    void border. Images that VOC trains on itself keep VOC's masks. The split ``sbd_train`` is SBD's own training
    set of 8,498 images, on which the FCN papers train; it and VOC's val overlap, it and ``seg11valid`` do not.

    Args:
        root: see :class:`VOCDataModule`.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.
    """

    name = "voc_sbd"

    def __init__(self, root: str, **loading: Any) -> None:
        super().__init__(root, 2012, **loading)
        self.official_sizes = {**self.official_sizes, "train": AUGMENTED_SIZE}

    def missing(self) -> list[Release]:
        releases = super().missing()
        if not (self._sbd() or self._list()):
            archive = Archive(SBDataset.url, f"md5:{SBDataset.md5}")
            releases.append(Release((archive,), SBD, SBD))
        return releases

    def samples(self, split: str) -> list[Sample]:
        """VOC's own splits, but "train" with what SBD adds.

        Raises:
            SegmentError: neither form of SBD is there, or its list names images of VOC's validation split.
        """
        if split == "sbd_train":
            base = self._sbd() or self.folder(SBD, "dataset")
            return [
                Sample(name, base / "img" / f"{name}.jpg", base / "cls" / f"{name}.mat")
                for name in self.list_ids(base / "train.txt")
            ]
        if split != "train":
            return super().samples(split)
        own, held_out = super().samples("train"), {*self.ids("val")}
        names = {sample.id for sample in own}
        if path := self._list():
            further = [PurePosixPath(line.split()[0]).stem for line in self.list_ids(path)]
            leaked = [name for name in further if name in held_out]
            if leaked:
                raise SegmentError(f"{path} lists {len(leaked)} images of VOC 2012 val ({', '.join(leaked[:3])}, ...)")
            masks, suffix = self.base() / "SegmentationClassAug", ".png"
            images = self.base() / "JPEGImages"
        elif sbd := self._sbd():
            listed = [name for part in ("train", "val") for name in self.list_ids(sbd / f"{part}.txt")]
            further = [name for name in listed if name not in held_out]
            masks, suffix, images = sbd / "cls", ".mat", sbd / "img"
        else:
            raise SegmentError(
                f"no SBD at data.root={self.root}: expected {SBD}/dataset/ beside VOCdevkit/ (data.download=true), or "
                f"SegmentationClassAug/ and ImageSets/Segmentation/train_aug.txt in {self.base()}"
            )
        added = [name for name in dict.fromkeys(further) if name not in names]
        return own + [Sample(name, images / f"{name}.jpg", masks / f"{name}{suffix}") for name in added]

    def _list(self) -> Path | None:
        """The list that goes with ``SegmentationClassAug``."""
        base = self._find()
        if base is None or not (base / "SegmentationClassAug").is_dir():
            return None
        lists = (base / "ImageSets" / "Segmentation" / name for name in ("train_aug.txt", "trainaug.txt"))
        return next((path for path in lists if path.is_file()), None)

    def _sbd(self) -> Path | None:
        """SBD's ``dataset`` folder: below ``root``, or beside ``VOCdevkit``."""
        base = self._find()
        places = [self.root, *([base.absolute().parents[1], base.resolve().parents[1]] if base else [])]
        return next((p / SBD / "dataset" for p in places if (p / SBD / "dataset").is_dir()), None)
