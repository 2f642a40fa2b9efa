"""The archive of masks that PASCAL VOC's evaluation server takes: how it is written and how it is checked.

It is a tar file, gzipped or not, with a palette PNG of class indices for each image of the test list:
``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` (VOC2012 development kit, section 5.3).
"""

import tarfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from segment.data.classes import IGNORE
from segment.data.downloads.unpack import tar_members
from segment.errors import SegmentError
from segment.files import printable, whole_file

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from torch import Tensor

    from segment.data.datasets.voc import VOCDataModule

COMPETITIONS = {"comp5": "trained on VOC's own data alone", "comp6": "trained on any data, such as ImageNet"}
MASK_BYTES = 2**24
"""Largest part of a mask's file that is read, in bytes. VOC's masks have some thousands."""


class ArchiveFault(Exception):
    """A reason for the server to refuse an archive: a sentence that names the file in the archive.

    Attributes:
        kind: the same reason in one or two words, by which faults are counted.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def masks_folder(year: int, competition: str, split: str) -> PurePosixPath:
    """Return the folder of the masks inside the archive."""
    return PurePosixPath("results", f"VOC{year}", "Segmentation", f"{competition}_{split}_cls")


def image_sizes(data: "VOCDataModule", split: str) -> dict[str, tuple[int, int]]:
    """Return (width, height) of a split's images by id, read from the files' headers."""
    from PIL import Image

    sizes = {}
    for sample in data.dataset(split).samples:
        with Image.open(sample.image) as image:
            sizes[sample.id] = image.size
    return sizes


def check_submit_options(server: str, competition: str, data: Any) -> None:
    """Check that the server and the competition exist and that the data set is VOC.

    Raises:
        SegmentError: one of them is something else.
    """
    from segment.data.datasets.voc import VOCDataModule

    if server != "voc":
        raise SegmentError(f"submit={server}: expected voc, or null to compute metrics")
    if competition not in COMPETITIONS:
        known = " or ".join(f"{name} ({meaning})" for name, meaning in COMPETITIONS.items())
        raise SegmentError(f"competition={competition}: expected {known}")
    if not isinstance(data, VOCDataModule):
        raise SegmentError(
            f"submit=voc: expected PASCAL VOC's images (data=voc data.root=DIR), got {type(data).__name__}"
        )


def write_voc_archive(
    predict: "Callable[[Tensor], Tensor]", data: "VOCDataModule", split: str, competition: str, folder: Path
) -> None:
    """Write ``results.tgz`` into ``folder``, and keep it only if it has no fault.

    Args:
        predict: a function from an image uint8 (3,H,W) to class indices (H,W).

    Raises:
        SegmentError: the archive has a fault.
    """
    from rich.progress import track

    from segment.display.pictures import palette_image

    dataset, target, inside = data.dataset(split), folder / "results.tgz", masks_folder(data.year, competition, split)
    with whole_file(target, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:  # PNGs are compressed already
            for i in track(range(len(dataset)), "segmenting"):
                content = BytesIO()
                mask = predict(dataset.load(i)[0]).cpu().numpy()
                palette_image(mask, data.classes).save(content, "PNG")
                member = tarfile.TarInfo(str(inside / f"{dataset.id(i)}.png"))
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)
        file.flush()
        for fault in archive_faults(Path(file.name), image_sizes(data, split), data.year, split):
            raise SegmentError(f"VOC's server would refuse the archive: {fault}")
    print(f"{target} has {len(dataset)} masks in {inside} ({COMPETITIONS[competition]})")
    if split != "test":
        print(f"note: VOC's server takes the split test, this is {split}")


def archive_faults(
    path: Path, sizes: Mapping[str, tuple[int, int]], year: int = 2012, split: str = "test"
) -> Iterator[ArchiveFault]:
    """Read an archive, without unpacking it to disk, and yield every reason for the server to refuse it.

    Args:
        sizes: (width, height) of each image of the split, by id.
    """
    allowed = {str(masks_folder(year, name, split)) for name in COMPETITIONS}
    files: Counter[PurePosixPath] = Counter()
    try:
        for member, content in tar_members(path, "r:gz" if is_gzipped(path) else "r:"):
            name = PurePosixPath(printable(member.name))
            files[name] += member.isfile()
            try:
                check_member(member, name, allowed)
                if files[name] > 1:
                    raise ArchiveFault("duplicate", f"{name} is in the archive more than once")
                if content and name.stem not in sizes:
                    raise ArchiveFault("extra image", f"{name} is not in VOC{year}'s list {split}.txt")
                if content:
                    check_mask(name, content, sizes[name.stem])
            except ArchiveFault as fault:
                yield fault
    except Exception as error:  # tarfile may raise anything on a broken file
        reason = f"reading failed after {files.total()} files: {error}"
        yield ArchiveFault("archive", f"{path.name} is not a complete .tar, .tar.gz or .tgz: {reason}")
        if not files.total():
            return
    folders = sorted(allowed & {str(name.parent) for name in files})
    if len(folders) > 1:
        yield ArchiveFault("layout", f"masks lie in {' and in '.join(folders)}: an archive is for one competition")
    found = {name.stem for name, count in files.items() if count}
    for image in sizes:
        if image not in found:
            yield ArchiveFault("missing image", f"{image}.png is missing: {split}.txt lists {len(sizes)} images")


def is_gzipped(path: Path) -> bool:
    """Return whether a file begins as gzip's do."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def check_member(member: tarfile.TarInfo, name: PurePosixPath, allowed: set[str]) -> None:
    """Check that a member is a PNG in one of the allowed folders, or a folder above it.

    Raises:
        ArchiveFault: it is not.
    """
    if name.is_absolute() or ".." in name.parts:
        raise ArchiveFault("unsafe path", f"{name} would be unpacked outside the target folder")
    if not (member.isfile() or member.isdir()):
        raise ArchiveFault("no file", f"{name} is a link or a device, expected a file")
    if member.isdir():
        if not any(PurePosixPath(folder).is_relative_to(name) for folder in allowed):
            raise ArchiveFault("layout", f"{name} is a folder: expected {min(allowed)} alone")
    elif str(name.parent) not in allowed or name.suffix != ".png":
        raise ArchiveFault("layout", f"{name}: expected {min(allowed)}/ID.png, or the same with comp6")


def check_mask(name: PurePosixPath, content: IO[bytes], size: tuple[int, int]) -> None:
    """Check that a file is a mask of VOC's classes for an image of this (width, height).

    Raises:
        ArchiveFault: it is not.
    """
    from segment.data.datasets.voc import VOC

    labels, palette = read_mask(name, content, size)
    if IGNORE in labels:
        raise ArchiveFault("void", f"{name} has label {IGNORE}, which is for the ground truth: give each pixel a class")
    if labels[-1] >= len(VOC):
        raise ArchiveFault("label", f"{name} has label {labels[-1]}: expected 0 to {len(VOC) - 1}")
    for label in labels:
        colour, expected = tuple(palette[3 * label : 3 * label + 3]), VOC.palette[label]
        if colour != expected:
            raise ArchiveFault("palette", f"{name} shows label {label} in {colour}: VOC's colour is {expected}")


def read_mask(name: PurePosixPath, content: IO[bytes], size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Return the labels in a mask, in ascending order, and its palette. Grey masks get VOC's palette.

    Raises:
        ArchiveFault: the file is not a whole PNG of class indices, or of another (width, height).
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from segment.data.datasets.voc import VOC
    from segment.data.images import PNG, unpack_png

    data = content.read(MASK_BYTES)
    if not data.startswith(PNG):
        raise ArchiveFault("unreadable", f"{name} is not a PNG")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data)) as image:  # PIL warns of large ones
            if image.size != size:
                got, expected = (f"{w}x{h}" for w, h in (image.size, size))
                raise ArchiveFault("size", f"{name} is {got}, its image {expected} (width x height)")
            if image.mode not in {"P", "L"}:
                expectation = "expected class indices, a PNG of mode P (or L)"
                raise ArchiveFault("mode", f"{name} has mode {image.mode}: {expectation}")
            unpack_png(data)
            palette = image.getpalette() or [] if image.mode == "P" else VOC.flat_palette()
            return np.unique(np.asarray(image)).tolist(), palette
    except ArchiveFault:
        raise
    except Exception as error:  # PIL may raise anything on a broken file
        damaged = isinstance(error, UnidentifiedImageError)
        reason = "its header is damaged" if damaged else str(error) or type(error).__name__
        raise ArchiveFault("unreadable", f"{name} is not a readable PNG: {reason}") from None
