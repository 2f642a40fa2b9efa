"""ADE20K's SceneParsing challenge (Zhou et al., 2017): 150 classes of things and stuff."""

import csv
from importlib.resources import files
from pathlib import Path

from segment.data.classes import IGNORE, Classes
from segment.data.datamodule import SegmentationDataModule
from segment.data.downloads.fetch import Archive, Release
from segment.data.labels import Labels, index_labels
from segment.data.pairs import Sample
from segment.errors import SegmentError


def _read_classes() -> tuple[Classes, frozenset[str]]:
    """Return the classes, and all names of stuff, synonyms included."""
    with (files("segment.data.datasets") / "ade20k.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    synonyms = frozenset(name.strip() for row in rows if row["stuff"] == "1" for name in row["name"].split(","))
    names = [row["name"].split(",")[0] for row in rows]
    palette = tuple((int(row["r"]), int(row["g"]), int(row["b"])) for row in rows)
    return Classes(tuple(names), palette, synonyms & {*names}), synonyms


ADE20K, STUFF_NAMES = _read_classes()

CHALLENGE = "ADEChallengeData2016"
"""Name of the challenge's folder and archive."""
SUBFOLDERS = {"train": "training", "val": "validation"}
"""Folder of each split."""
TEST_FOLDER = ("release_test", "testing")
"""Folder of the test images, which have an archive of their own."""


class ADE20KDataModule(SegmentationDataModule):
    """``ADEChallengeData2016/images|annotations/training|validation``.

    Masks hold 0 for "other", which is ignored, and 1 to 150 for the classes 0 to 149.

    Args:
        root: the folder that holds ``ADEChallengeData2016``, or that folder itself.
        loading: see :class:`segment.data.datamodule.SegmentationDataModule`.

    Example:
        >>> data = ADE20KDataModule("data/ade20k")
        >>> data.name, len(data.classes), data.labels.table[1]
        ('ade20k', 150, 0)
    """

    name = "ade20k"
    downloadable = True
    classes = ADE20K
    layout = f"{CHALLENGE}/ with images/{{training,validation}} and annotations/{{training,validation}}"
    official_sizes = {"train": 20210, "val": 2000}

    @property
    def labels(self) -> Labels:
        return index_labels(len(ADE20K), offset=1, void=(0, IGNORE))

    def missing(self) -> list[Release]:
        url = f"http://data.csail.mit.edu/places/ADEchallenge/{CHALLENGE}.zip"
        archive = Archive(url, "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7")
        base = self.expected_folder(CHALLENGE)
        if base.is_dir():
            _refuse_full_release(base)
        parts = [base / kind / part for kind in ("images", "annotations") for part in SUBFOLDERS.values()]
        return [] if all(part.is_dir() for part in parts) else [Release((archive,), CHALLENGE, self.below_root(base))]

    def folder(self, *parts: str) -> Path:
        """Return the challenge's folder.

        Raises:
            SegmentError: the folder is missing, or it holds the full release.
        """
        base = self.find_folder(*parts) or self.root
        if base.is_dir():
            _refuse_full_release(base)
        return super().folder(*parts)

    def samples(self, split: str) -> list[Sample]:
        """Return every JPEG of the split's folder and its mask, in the order of their names; test images have none."""
        if split == "test":
            return [Sample(image.stem, image, None) for image in self._test_images()]
        if split not in SUBFOLDERS:
            raise SegmentError(f"ADE20K has the splits train, val and test, not {split!r}")
        base = self.folder(CHALLENGE)
        images = sorted((base / "images" / SUBFOLDERS[split]).glob("*.jpg"))
        if not images:
            raise SegmentError(f"no image in {base / 'images' / SUBFOLDERS[split]}: expected {self.layout}")
        masks = base / "annotations" / SUBFOLDERS[split]
        return [Sample(image.stem, image, masks / f"{image.stem}.png") for image in images]

    def _test_images(self) -> list[Path]:
        """Return the images of ``release_test/testing``, which lies below ``root`` or beside the challenge's folder."""
        folders = (self.find_folder(*TEST_FOLDER), self.root.parent.joinpath(*TEST_FOLDER))
        images = next((sorted(folder.glob("*.jpg")) for folder in folders if folder and folder.is_dir()), [])
        if not images:
            raise SegmentError(f"no test images at data.root={self.root}: expected {'/'.join(TEST_FOLDER)}/*.jpg")
        return images

    def scenes(self) -> dict[str, str]:
        """Return the scene of each image ("street", "bedroom"), by its id.

        Raises:
            SegmentError: ``sceneCategories.txt`` is missing, or a line is not "ID SCENE".
        """
        path = self.folder(CHALLENGE) / "sceneCategories.txt"
        scenes = {}
        for line in self.read_list(path):
            name, _, scene = line.partition(" ")
            if not scene:
                raise SegmentError(f"{path}: expected 'ID SCENE' in each line, but one reads {line!r}")
            scenes[name] = scene.strip()
        return scenes


def _refuse_full_release(base: Path) -> None:
    if not (base / "annotations").is_dir() and _is_full_release(base):
        first = f"rename {base} and " if base.name == CHALLENGE else ""
        raise SegmentError(
            f"{base} holds the full ADE20K release, with object parts and thousands of names; the 150 classes are "
            f"those of the SceneParsing challenge: {first}get {CHALLENGE}.zip (data.download=true)"
        )


def _is_full_release(base: Path) -> bool:
    """Recognise the release of 2021 by ``images/ADE/``, that of 2016 by a folder per scene with ``*_seg.png`` masks."""
    names = {path.name for path in base.iterdir()}
    if any(name.startswith("ADE20K_20") or name == "index_ade20k.pkl" for name in names):
        return True
    return (base / "images" / "ADE").is_dir() or any(base.glob("images/*/*/*/*_seg.png")) or any(base.glob("*_seg.png"))
