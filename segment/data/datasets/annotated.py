"""A user's own photos with annotations of LabelMe, COCO, CVAT, Label Studio or YOLO."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from segment.console import print_once
from segment.data.annotations.labels import class_names, class_of_labels, paste, spellings
from segment.data.annotations.masks import NOT_COUNTED
from segment.data.annotations.objects import AnnotatedObject, Annotation, DrawnMask, is_void
from segment.data.annotations.sources import SPLITS, ImageFolder, folder_split
from segment.data.classes import IGNORE
from segment.data.dataset import SegmentationDataset
from segment.data.datasets.annotation_formats import READERS, find_format, read_annotations, unpacked
from segment.data.datasets.folder import FolderDataModule
from segment.data.headers import image_header
from segment.data.labels import VOID
from segment.data.pairs import Finding, Remark, Sample
from segment.errors import NoSplitError, SegmentError
from segment.files import first_names


class AnnotationDataModule(FolderDataModule):
    """Photos and the files of an annotation tool in one folder. Masks are drawn when they are needed.

    Class 0 is the background, which is all that no object covers. Splits come from the annotation files where they
    state them, from lists as in :class:`segment.data.datasets.folder.FolderDataModule`, or from names of the images'
    folders; otherwise a fraction is held out. Images without an annotation are not used.

    Args:
        root: the folder, or the zip of an export, which is unpacked beside itself.
        format: labelme, coco, cvat, labelstudio, yolo or voc; None to find out.
        classes: labels, or a table from class to labels, ``{person: [man, woman], dog: dog}``; the classes "background"
            and "void" collect labels as well. Without it, each label that occurs is a class.
        others: "background" or "void" for labels that ``classes`` lacks; None to refuse them.
        difficult: "void" to ignore objects that are flagged as difficult, "class" to keep them.
        val_fraction, split_seed, name, loading: see :class:`segment.data.datasets.folder.FolderDataModule`.

    Raises:
        SegmentError: there are no annotations, a label has no class, or an argument is out of range.

    Example:
        >>> _ = Path("a.json").write_text('{"shapes": [{"label": "dog", "points": [[0, 0], [9, 0], [0, 9]]}]}')
        >>> from PIL import Image
        >>> Image.new("RGB", (16, 16)).save("a.jpg")
        >>> AnnotationDataModule(".", classes=["dog"]).classes.names
        ('background', 'dog')
    """

    def __init__(
        self,
        root: str,
        format: str | None = None,
        classes: Sequence[str] | Mapping[str, Any] | None = None,
        others: str | None = None,
        difficult: str = "void",
        val_fraction: float = 0.2,
        split_seed: int = 0,
        name: str = "",
        **loading: Any,
    ) -> None:
        if format not in {None, *READERS}:
            raise SegmentError(f"data.format={format}: expected one of {', '.join(READERS)}, or null")
        if difficult not in {"void", "class"}:
            raise SegmentError(f"data.difficult={difficult}: expected void or class")
        folder = ImageFolder(unpacked(Path(root).expanduser()))
        if not folder.root.is_dir():
            raise SegmentError(f"no data set at data.root={root}: expected a folder of images and annotations")
        self.format = format or find_format(folder)
        found = [*read_annotations(folder, self.format)]
        self.annotations = [one for one in found if isinstance(one, Annotation)]
        findings = [one for one in found if isinstance(one, Finding)]
        self.left_out = [one for one in findings if not isinstance(one, Remark)]
        if not self.annotations:
            raise SegmentError(f"no annotation below {folder.root} can be read: {findings[0].message}")
        remarks = [
            *(one for one in findings if isinstance(one, Remark)),
            *outline_remarks(self.annotations, folder.root),
        ]
        self.found = Counter(label for one in self.annotations for label in one.labels())
        self.class_of = class_of_labels(self.found, classes, others)
        self.others, self.difficult = others, difficult
        names = class_names(self.class_of)
        images = "images" if self.format == "yolo" and (folder.root / "images").is_dir() else "."
        super().__init__(str(folder.root), names, images, images, "{name}", "{name}", None, val_fraction, split_seed,
                         None, name or self.format, **loading)  # fmt: skip
        self.layout = f"images and annotations of the format {self.format}"
        self.by_index, self.palette = False, "indices"
        self._noted = False
        self.remarks = [*remarks, *self._split_remarks()]
        for line in [f"classes found: {paste(names)}"] * (classes is None) + [one.message for one in self.remarks]:
            print_once(line)
        self._folder = folder

    def settings(self) -> dict[str, Any]:
        """Record the table of labels, so that a checkpoint is evaluated with the same classes."""
        table = {
            name: [label for label, own in self.class_of.items() if own == name] for name in self.class_of.values()
        }
        return {**super().settings(), "classes": table, "format": self.format}

    def samples(self, split: str) -> list[Sample]:
        """Return the annotated images of a split."""
        name = SPLITS.get(split, split)
        if name in self._splits.values():
            return [self._sample(one) for one in self.annotations if self._splits[one.image] == name]
        if self._splits:
            shown = ", ".join(sorted(filter(None, {*self._splits.values()})))
            raise NoSplitError(f"no split {split!r} at data.root={self.root}: its annotated images have {shown}")
        return super().samples(split)

    @cached_property
    def _splits(self) -> dict[Path, str | None]:
        """The split of each image by its annotation, or else by its folder; empty if they divide the images nowhere.

        Lists at the root come before folders. Annotation files that state one split for some images divide them from
        the others; a folder does so only beside one of another split, since its name may be a chance.
        """
        splits = {
            one.image: one.split or folder_split(one.image.relative_to(self.root).parent) for one in self.annotations
        }
        stated = {one.split for one in self.annotations}
        if len(stated - {None}) < 2 and any(self._is_split(path) for path in self.root.glob("*.txt")):
            return {}
        return splits if len(stated) > 1 or len({*splits.values()} - {None}) > 1 else {}

    def _split_remarks(self) -> list[Remark]:
        """Return a remark on the annotated images that are in no split, where others are in one."""
        lost = [one.id for one in self.annotations if one.image in self._splits and not self._splits[one.image]]
        names = ", ".join(sorted(filter(None, {*self._splits.values()})))
        count = f"{len(lost)} of {len(self.annotations)} annotated images"
        return [Remark("no split", f"{count} are in none of the splits {names}: {first_names(lost)}")] * bool(lost)

    def _pairs(self, images: Path, masks: Path) -> list[Sample]:
        return [self._sample(one) for one in self.annotations if images in one.image.parents]

    def _sample(self, annotation: Annotation) -> Sample:
        return Sample(annotation.id, annotation.image, annotation.file, DrawnMask(annotation, self.label_of))

    def class_of_object(self, item: AnnotatedObject) -> str:
        """Return the class of an object, "background" or "void"."""
        return self.class_of.get(item.label, item.label)

    def label_of(self, item: AnnotatedObject) -> int:
        """Return the label of an object's pixels; crowds are void."""
        name = self.class_of_object(item)
        ignored = name == VOID or is_void(item.flags, self.difficult)
        return IGNORE if ignored else self.classes.names.index(name)

    def findings(self) -> tuple[list[Finding], list[Finding]]:
        """Return the annotations that cannot be read, and what is odd about the others."""
        notes: list[Finding] = [
            *self.remarks,
            *(note for annotation in self.annotations for note in annotation_notes(annotation)),
        ]
        notes += self._counted[1]
        for group in spellings(self.found):
            if len({self.class_of.get(label, label) for label in group}) == 1:  # merged by data.classes
                continue
            counts = ", ".join(f"{label!r} ({self.found[label]})" for label in group)
            table = f"data.classes={{{group[0]}:[{','.join(group)}]}}"
            notes.append(Finding("spelling", f"one class? {counts}; {table} merges them"))
        known = {annotation.image for annotation in self.annotations}
        if unknown := [
            path for path in self._folder.images if path not in known and not path.parent.name.startswith(MASKS)
        ]:
            some = first_names([self._folder.id(path) for path in unknown], 5)
            notes.append(Finding("no annotation", f"{len(unknown)} images have none and are not used: {some}"))
        if empty := [one.id for one in self.annotations if not one.labels()]:
            shown = first_names(empty, 5)
            notes.append(Finding("no object", f"{len(empty)} images have no object and are all background: {shown}"))
        return [*self.left_out], notes

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of objects by label, and by flag."""
        return self._counted[0]

    @cached_property
    def _counted(self) -> tuple[dict[str, dict[str, int]], list[Finding]]:
        """The numbers of :meth:`counts`, and why objects are not counted, such as broken masks of objects."""
        labels, flags, notes = Counter[str](), Counter[str](), []
        for annotation in self.annotations:
            try:
                for item in annotation.load().whole_objects():
                    labels[item.label] += 1
                    flags.update(item.flags)
            except SegmentError as error:
                notes.append(Finding(NOT_COUNTED, str(error)))
        return {"label": dict(labels)} | ({"flag": dict(flags)} if flags else {}), notes

    def image_stem(self, mask: Path) -> str | None:
        return None

    def check_dataset(self, dataset: SegmentationDataset) -> None:
        """Check the headers, and say once which annotations are left out."""
        super(FolderDataModule, self).check_dataset(dataset)  # that of folders reads values of mask files
        if not self._noted:
            self._noted = True
            for finding in self.left_out:
                print_once(f"left out: {finding.message}")


MASKS = "Segmentation"
"""First part of the names of VOC's folders of masks."""


def outline_remarks(annotations: Sequence[Annotation], root: Path) -> list[Remark]:
    """Return a remark on the objects without an outline, such as boxes.

    Raises:
        SegmentError: no object has an outline.
    """
    empty = [item.is_empty for one in annotations for item in one.objects]
    count = f"{sum(empty)} of {len(empty)} objects below {root} have no outline, such as boxes"
    if empty and all(empty):
        raise SegmentError(f"{count}, which are for detection: outline them")
    return [Remark("no outline", f"{count}: they have no pixels")] * any(empty)


def annotation_notes(annotation: Annotation) -> Iterator[Finding]:
    """Yield a note on objects that are empty, unclosed or outside the image."""
    objects = annotation.objects
    unclosed = [item.label for item in objects if item.is_empty]
    if unclosed:
        yield Finding(
            "unclosed", f"{annotation.file}: without pixels, or with too few points: {', '.join(unclosed[:5])}"
        )
    try:
        _, height, width = annotation.frame(image_header(annotation.image))
    except Exception:  # the pair's own problem, see image_header
        return
    boxes = [(item.label, item.box()) for item in objects if not item.is_empty]
    outside = [label for label, (x, y, right, bottom) in boxes if x >= width or y >= height or right < 0 or bottom < 0]
    if outside:
        yield Finding("outside", f"{annotation.file}: outside the image: {', '.join(outside[:5])}")
    beyond = sum(min(x, y) < -1 or right > width or bottom > height for _, (x, y, right, bottom) in boxes)
    if beyond > len(outside):
        count = beyond - len(outside)
        yield Finding("outside", f"{annotation.file}: {count} objects reach beyond the image, and are cut")
