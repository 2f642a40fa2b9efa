"""The annotation formats: how a folder shows which one it has, and its reader."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from filelock import FileLock

from segment.data.annotations.coco import KEYPOINTS, is_coco, read_coco
from segment.data.annotations.labelme import is_labelme, read_labelme, read_labelme_xml
from segment.data.annotations.labelstudio import is_labelstudio, read_labelstudio
from segment.data.annotations.masks import CLASS_MASKS, read_layout
from segment.data.annotations.objects import Annotation
from segment.data.annotations.sources import CVAT_XML, ImageFolder, load_json
from segment.data.annotations.yolo import find_data_yaml, label_files, read_names, read_splits, read_yolo
from segment.data.classes import BACKGROUND, IGNORE
from segment.data.datasets.voc import VOC
from segment.data.downloads.unpack import unpack
from segment.data.labelmap import read_labelmap
from segment.data.labels import VOID
from segment.data.pairs import Finding
from segment.errors import SegmentError

Found = Iterator[Annotation | Finding]


def unpacked(root: Path) -> Path:
    """Return the folder of a data set that may be a zip, or a folder with nothing but images and one zip.

    A zip is unpacked beside itself, into a folder of its name, unless that folder exists.

    Raises:
        SegmentError: the zip is damaged, or holds links or paths outside its folder.
    """
    found = [root] if root.suffix.lower() == ".zip" and root.is_file() else sorted(root.glob("*.zip"))
    zips = [path for path in found if path.is_file()]  # to open a named pipe would wait for a writer
    if len(zips) != 1 or (root.is_dir() and any(path.suffix in {".json", ".txt", ".xml"} for path in root.iterdir())):
        return root
    target = zips[0].with_suffix("")
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not target.exists():
            unpack(zips, ".", target)
    return target if zips[0] == root else root


def find_format(folder: ImageFolder) -> str:
    """Return the name of the format that a folder has.

    Raises:
        SegmentError: it has none that is known.
    """
    names = {path.name for path in folder.files}
    masks = any(CLASS_MASKS in path.relative_to(folder.root).parts for path in folder.files)
    if masks or "labelmap.txt" in names:
        return "cvat" if "labelmap.txt" in names else "voc"
    for path in folder.with_suffix(".json"):
        try:
            content = load_json(path) if folder.contains(path) else None
        except SegmentError:
            continue
        for name, matches in (("labelme", is_labelme), ("coco", is_coco), ("labelstudio", is_labelstudio)):
            if matches(content):
                return name
    if any(folder.with_suffix(".xml")):
        return "labelme"
    if label_files(folder):
        return "yolo"
    raise SegmentError(
        f"no annotations below {folder.root}: expected files of LabelMe, COCO, CVAT (Segmentation mask 1.1), "
        "Label Studio (JSON) or YOLO, or VOC's SegmentationClass/"
    )


def read_annotations(folder: ImageFolder, name: str) -> Found:
    """Yield the annotations of a folder, and the findings about those that cannot be read.

    Args:
        name: of the format, one of :data:`READERS`.

    Raises:
        SegmentError: there is no file of that format.
    """
    owners: dict[Path, Annotation] = {}
    twice: dict[tuple[Path, Path], list[Path]] = defaultdict(list)
    empty = True
    for found in READERS[name](folder):
        empty = False
        if isinstance(found, Finding) or (other := owners.setdefault(found.image, found)) is found:
            yield found
        elif _contents(other) != _contents(found) or not found.objects:
            twice[other.file, found.file].append(found.image)
    for (first, second), images in twice.items():
        shown = images[0] if len(images) == 1 else f"{len(images)} images, such as {images[0]}"
        yield Finding("annotation", f"{first} and {second} both annotate {shown}: the first is read")
    if empty:
        raise SegmentError(f"no annotation of the format {name} below {folder.root}")


def _contents(annotation: Annotation) -> list[Any]:
    """Return the objects of an annotation in a form that can be compared."""
    return [(one._replace(outlines=()), [points.tolist() for points in one.outlines]) for one in annotation.objects]


def _each(paths: Iterable[Path], folder: ImageFolder, read: Callable[[Path], Annotation | Found]) -> Found:
    """Yield what ``read`` makes of each file; a file that it cannot read, or that lies elsewhere, is a finding."""
    for path in paths:
        try:
            if not folder.contains(path):
                raise SegmentError(f"{path} is a link to a file outside {folder.root}")
            found = read(path)
            yield from [found] if isinstance(found, Annotation) else found
        except SegmentError as error:
            yield Finding("annotation", str(error))


def _labelme(folder: ImageFolder) -> Found:
    yield from _each(folder.with_suffix(".json"), folder, lambda path: read_labelme(path, folder))
    yield from _each(folder.with_suffix(".xml"), folder, lambda path: read_labelme_xml(path, folder))


def _coco(folder: ImageFolder) -> Found:
    """Yield what the files hold, last those with keypoints or without objects: only images that no other file has."""
    files = [[*_each([path], folder, lambda path: read_coco(path, folder))] for path in folder.with_suffix(".json")]
    known: set[Path] = set()
    for comes_last, found in sorted(((_comes_last(found), found) for found in files), key=itemgetter(0)):
        annotations = [one for one in found if isinstance(one, Annotation)]
        left_out = {one.id for one in annotations if one.image in known} if comes_last else ()
        yield from (one for one in found if not isinstance(one, Annotation) or one.id not in left_out)
        known |= {one.image for one in annotations}


def _comes_last(found: Sequence[Annotation | Finding]) -> bool:
    kinds = {one.kind for one in found if isinstance(one, Finding)}
    return KEYPOINTS in kinds or not any(one.objects for one in found if isinstance(one, Annotation))


def _labelstudio(folder: ImageFolder) -> Found:
    return _each(folder.with_suffix(".json"), folder, lambda path: read_labelstudio(path, folder))


def _yolo(folder: ImageFolder) -> Found:
    file = find_data_yaml(folder)
    names, (splits, remarks) = read_names(folder, file), read_splits(folder, file)
    yield from remarks
    yield from _each(label_files(folder), folder, lambda path: read_yolo(path, folder, names, splits))


def _cvat(folder: ImageFolder) -> Found:
    path = next((path for path in folder.files if path.name == "labelmap.txt" and folder.contains(path)), None)
    if path is None:
        own = next((path for path in folder.files if path.name == "annotations.xml"), None)
        lacks = f"no labelmap.txt below {folder.root}: export the task as 'Segmentation mask 1.1'"
        raise SegmentError(f"{own} {CVAT_XML}" if own else lacks)
    table = {tuple(map(int, colour.split("/"))): label for colour, label in read_labelmap(path).items()}
    return read_layout(path.parent, table, folder.root)


def _voc(folder: ImageFolder) -> Found:
    masks = next((path.parent for path in folder.files if path.parent.name == CLASS_MASKS), None)
    if masks is None:
        raise SegmentError(f"no {CLASS_MASKS}/ below {folder.root}")
    table = {**dict(enumerate(VOC.names)), IGNORE: VOID, VOC.names.index(BACKGROUND): BACKGROUND}
    return read_layout(masks.parent, table, folder.root)


READERS: dict[str, Callable[[ImageFolder], Found]] = {
    "labelme": _labelme, "coco": _coco, "cvat": _cvat, "labelstudio": _labelstudio, "yolo": _yolo, "voc": _voc,
}  # fmt: skip
"""Reader of each format."""
