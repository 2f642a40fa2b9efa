"""What is wrong with an archive of masks that PASCAL VOC's evaluation server is to take.

It is a tar file, gzipped or not, with a palette PNG of class indices for each image of the test list:
``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` (VOC2012 development kit, section 5.3).
"""

import gzip
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from segment.files import printable

COMPETITIONS = {"comp5": "trained on VOC's own data alone", "comp6": "trained on any data, such as ImageNet"}
LARGEST = 2**24
"""Bytes of a mask that are read; VOC's have some thousands."""


def folder_of(year: int, competition: str, split: str) -> PurePosixPath:
    """Where the archive has its masks."""
    return PurePosixPath("results", f"VOC{year}", "Segmentation", f"{competition}_{split}_cls")


class Fault(NamedTuple):
    """What is wrong with an archive: a short word for its kind, and a sentence that names the member."""

    kind: str
    message: str


def faults(path: Path, sizes: Mapping[str, tuple[int, int]], year: int = 2012, split: str = "test") -> Iterator[Fault]:
    """Read an archive, unpacking nothing to disk, and name all that the server would stumble over.

    Args:
        sizes: (width, height) of each image that has to be there, by id.
    """
    allowed = {str(folder_of(year, name, split)) for name in COMPETITIONS}
    names: Counter[PurePosixPath] = Counter()
    try:
        for member, content in members(path):
            name = PurePosixPath(printable(member.name))
            names[name] += member.isfile()
            fault = member_fault(member, name, allowed)
            if not fault and names[name] > 1:
                fault = Fault("duplicate", f"{name} is in the archive more than once")
            if not fault and content:
                if name.stem in sizes:
                    fault = mask_fault(name, content, sizes[name.stem])
                else:
                    fault = Fault("extra image", f"{name} is not in VOC{year}'s list {split}.txt")
            if fault:
                yield fault
    except Exception as error:  # tarfile raises whatever a broken file makes it run into
        files = sum(names.values())
        yield Fault("archive", f"{path.name} is no whole .tar, .tar.gz or .tgz: after {files} files: {error}")
        if not files:
            return
    folders = sorted(allowed & {str(name.parent) for name in names})
    if len(folders) > 1:
        yield Fault("layout", f"masks lie in {' and in '.join(folders)}: an archive is for one competition")
    found = {name.stem for name, files in names.items() if files}
    for image in sizes:
        if image not in found:
            yield Fault("missing image", f"{image}.png is missing: {split}.txt lists {len(sizes)} images")


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Each member of a tar file, gzipped or not, and a file's content; all is read, to the end.

    Raises:
        Exception: it is no such file, or not a whole one.
    """
    with path.open("rb") as file:
        stream: BufferedIOBase = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                yield member, archive.extractfile(member) if member.isfile() else None
            stream.seek(archive.offset)
            while rest := stream.read(2**20):  # a compressed file's checksum is at its end
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("what follows is no part of a tar")


def member_fault(member: tarfile.TarInfo, name: PurePosixPath, allowed: set[str]) -> Fault | None:
    """Whether a member is a file where it should be."""
    if name.is_absolute() or ".." in name.parts:
        return Fault("unsafe path", f"{name} would leave the folder it is unpacked in")
    if not (member.isfile() or member.isdir()):
        return Fault("no file", f"{name} is a link or a device, expected a file")
    if member.isdir():
        within = any(PurePosixPath(folder).is_relative_to(name) for folder in allowed)
        return None if within else Fault("layout", f"{name} is a folder: expected {min(allowed)} alone")
    if str(name.parent) not in allowed or name.suffix != ".png":
        return Fault("layout", f"{name}: expected {min(allowed)}/ID.png, or the same with comp6")
    return None


def mask_fault(name: PurePosixPath, content: IO[bytes], size: tuple[int, int]) -> Fault | None:
    """Whether a file is a mask of an image of this (width, height)."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from segment.data.classes import IGNORE
    from segment.data.datasets.voc import VOC
    from segment.data.images import PNG, unpack_png

    data = content.read(LARGEST)
    if not data.startswith(PNG):
        return Fault("unreadable", f"{name} is no PNG")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data)) as image:  # PIL's, of large ones
            if image.size != size:
                got, expected = (f"{w}x{h}" for w, h in (image.size, size))
                return Fault("size", f"{name} is {got}, its image {expected} (width x height)")
            if image.mode not in {"P", "L"}:
                return Fault("mode", f"{name} has mode {image.mode}: expected class indices, a PNG of mode P (or L)")
            unpack_png(data)
            labels = np.unique(np.asarray(image)).tolist()
            palette = image.getpalette() if image.mode == "P" else VOC.flat_palette()
    except UnidentifiedImageError:
        return Fault("unreadable", f"{name} is no PNG that can be read: its header is damaged")
    except Exception as error:  # PIL raises whatever a broken file makes it run into
        return Fault("unreadable", f"{name} is no PNG that can be read: {error or type(error).__name__}")
    if IGNORE in labels:
        return Fault("void", f"{name} has label {IGNORE}: void is for the truth, every pixel is to be given a class")
    if labels[-1] >= len(VOC):
        return Fault("label", f"{name} has label {labels[-1]}: expected 0 to {len(VOC) - 1}")
    for label in labels:
        colour = tuple((palette or [])[3 * label : 3 * label + 3])
        if colour != VOC.palette[label]:
            return Fault("palette", f"{name} shows label {label} in {colour}: VOC's colour is {VOC.palette[label]}")
    return None
