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
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError
from rich.progress import track
from torch import Tensor

from segment.data.classes import IGNORE
from segment.data.datasets.voc import VOC, VOCDataModule
from segment.data.downloads.unpack import tar_members
from segment.data.headers import open_image
from segment.data.pairs import Finding
from segment.data.png import PNG, unpack_png
from segment.display.pictures import palette_image
from segment.errors import SegmentError
from segment.files import printable, whole_file

COMPETITIONS = {"comp5": "trained on VOC's own data alone", "comp6": "trained on any data, such as ImageNet"}
MASK_BYTES = 2**24
"""Largest part of a mask's file that is read, in bytes. VOC's masks have some thousands."""


def masks_folder(year: int, competition: str, split: str) -> PurePosixPath:
    """Return the folder of the masks inside the archive."""
    return PurePosixPath("results", f"VOC{year}", "Segmentation", f"{competition}_{split}_cls")


def image_sizes(data: VOCDataModule, split: str) -> dict[str, tuple[int, int]]:
    """Return (width, height) of a split's images by id, read from the files' headers."""
    sizes = {}
    for sample in data.dataset(split).samples:
        with open_image(sample.image) as image:
            sizes[sample.id] = image.size
    return sizes


def check_submit_options(server: str, competition: str, data: Any) -> None:
    """Check that the server and the competition exist and that the data set is VOC.

    Raises:
        SegmentError: one of them is something else.
    """
    if server != "voc":
        raise SegmentError(f"submit={server}: expected voc, or null to compute metrics")
    if competition not in COMPETITIONS:
        known = " or ".join(f"{name} ({meaning})" for name, meaning in COMPETITIONS.items())
        raise SegmentError(f"competition={competition}: expected {known}")
    if not isinstance(data, VOCDataModule):
        found = type(data).__name__
        raise SegmentError(f"submit=voc: expected PASCAL VOC's images (data=voc data.root=DIR), got {found}")


def write_voc_archive(
    predict: Callable[[Tensor], Tensor], data: VOCDataModule, split: str, competition: str, target: Path
) -> None:
    """Write an archive, and keep it only if it has no fault.

    Args:
        predict: a function from an image uint8 (3,H,W) to class indices (H,W).
        target: path of the archive.

    Raises:
        SegmentError: the archive has a fault.
    """
    dataset, inside = data.dataset(split), masks_folder(data.year, competition, split)
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
            raise SegmentError(f"VOC's server would refuse the archive: {fault.message}")
    print(f"{target} has {len(dataset)} masks in {inside} ({COMPETITIONS[competition]})")
    if split != "test":
        print(f"note: VOC's server takes the split test, this is {split}")


def archive_faults(
    path: Path, sizes: Mapping[str, tuple[int, int]], year: int = 2012, split: str = "test"
) -> Iterator[Finding]:
    """Read an archive, without unpacking it to disk, and yield every reason for the server to refuse it.

    Args:
        sizes: (width, height) of each image of the split, by id.
    """
    folders = [masks_folder(year, competition, split) for competition in COMPETITIONS]
    files: Counter[PurePosixPath] = Counter()
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    try:
        for member, content in tar_members(path, "r:gz" if is_gzipped else "r:"):
            name = PurePosixPath(printable(member.name))
            files[name] += member.isfile()
            if fault := member_fault(member, name, folders):
                yield fault
            elif files[name] > 1:
                yield Finding("duplicate", f"{name} is in the archive more than once")
            elif content and name.stem not in sizes:
                yield Finding("extra image", f"{name} is not in VOC{year}'s list {split}.txt")
            elif content and (fault := mask_fault(name, content.read(MASK_BYTES), sizes[name.stem])):
                yield fault
    except Exception as error:  # tarfile may raise anything on a broken file
        reason = f"reading failed after {files.total()} files: {error}"
        yield Finding("archive", f"{path.name} is not a complete .tar, .tar.gz or .tgz: {reason}")
        if not files.total():
            return
    parents, found = {name.parent for name in files}, {name.stem for name, count in files.items() if count}
    if parents.issuperset(folders):
        yield Finding("layout", f"masks lie in {' and in '.join(map(str, folders))}: an archive is for one competition")
    for image in sizes:
        if image not in found:
            yield Finding("missing image", f"{image}.png is missing: {split}.txt lists {len(sizes)} images")


def member_fault(member: tarfile.TarInfo, name: PurePosixPath, folders: list[PurePosixPath]) -> Finding | None:
    """Return the fault of a member that is neither a PNG in one of the folders nor a folder above it."""
    if name.is_absolute() or ".." in name.parts:
        return Finding("unsafe path", f"{name} would be unpacked outside the target folder")
    if not (member.isfile() or member.isdir()):
        return Finding("no file", f"{name} is a link or a device, expected a file")
    if member.isdir() and not any(folder.is_relative_to(name) for folder in folders):
        return Finding("layout", f"{name} is a folder: expected {folders[0]} alone")
    if member.isfile() and (name.parent not in folders or name.suffix != ".png"):
        return Finding("layout", f"{name}: expected {folders[0]}/ID.png, or the same with comp6")
    return None


def mask_fault(name: PurePosixPath, content: bytes, size: tuple[int, int]) -> Finding | None:
    """Return the fault of a file that is not a mask of VOC's classes for an image of this (width, height)."""
    if not content.startswith(PNG):
        return Finding("unreadable", f"{name} is not a PNG")
    try:
        with warnings.catch_warnings(action="ignore"), open_image(BytesIO(content)) as image:  # PIL warns of large ones
            if image.size != size:
                got, expected = (f"{w}x{h}" for w, h in (image.size, size))
                return Finding("size", f"{name} is {got}, its image {expected} (width x height)")
            if image.mode not in {"P", "L"}:
                return Finding("mode", f"{name} has mode {image.mode}: expected class indices, a PNG of mode P (or L)")
            unpack_png(content)
            labels = np.unique(np.asarray(image)).tolist()
            palette = image.getpalette() or [] if image.mode == "P" else VOC.flat_palette()
    except UnidentifiedImageError:
        return Finding("unreadable", f"{name} is not a readable PNG: its header is damaged")
    except Exception as error:  # PIL may raise anything on a broken file
        return Finding("unreadable", f"{name} is not a readable PNG: {error or type(error).__name__}")
    return label_fault(name, labels, palette)


def label_fault(name: PurePosixPath, labels: list[int], palette: list[int]) -> Finding | None:
    """Return the fault of a mask with labels, in ascending order, or colours that are not those of VOC's classes."""
    if IGNORE in labels:
        return Finding("void", f"{name} has label {IGNORE}, which is for the ground truth: give each pixel a class")
    if labels[-1] >= len(VOC):
        return Finding("label", f"{name} has label {labels[-1]}: expected 0 to {len(VOC) - 1}")
    for label in labels:
        colour, expected = tuple(palette[3 * label : 3 * label + 3]), VOC.palette[label]
        if colour != expected:
            return Finding("palette", f"{name} shows label {label} in {colour}: VOC's colour is {expected}")
    return None
