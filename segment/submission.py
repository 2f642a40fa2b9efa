"""The archive that PASCAL VOC's evaluation server takes: written, and read back to say what is wrong with one.

    python -m segment.submission results.tgz --root DIR

The server wants a tar file, gzipped or not, with a palette PNG of class indices for each image of the test list:
``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` (VOC2012 development kit, section 5.3).
"""

import argparse
import gzip
import os
import sys
import tarfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from segment.errors import SegmentError
from segment.files import printable

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from torch import Tensor

    from segment.data.voc import VOCDataModule

COMPETITIONS = {"comp5": "trained on VOC's own data alone", "comp6": "trained on any data, such as ImageNet"}
LARGEST = 2**24
"""Bytes of a mask that are read; VOC's have some thousands."""
SHOWN = 5
"""Faults of one kind on the screen."""


def folder_of(year: int, competition: str, split: str) -> PurePosixPath:
    """Where the archive has its masks."""
    return PurePosixPath("results", f"VOC{year}", "Segmentation", f"{competition}_{split}_cls")


def check_submission(server: str, competition: str, data: Any) -> None:
    """Whether there is such a server and competition, and the data is what they are about.

    Raises:
        SegmentError: if not.
    """
    from segment.data.voc import VOCDataModule

    if server != "voc":
        raise SegmentError(f"submit={server}: expected voc, or null for figures")
    if competition not in COMPETITIONS:
        known = " or ".join(f"{name} ({meaning})" for name, meaning in COMPETITIONS.items())
        raise SegmentError(f"competition={competition}: expected {known}")
    if not isinstance(data, VOCDataModule):
        raise SegmentError(
            f"submit=voc: expected PASCAL VOC's images (data=voc data.root=DIR), got {type(data).__name__}"
        )


def submit(
    predict: "Callable[[Tensor], Tensor]", data: "VOCDataModule", split: str, competition: str, folder: Path
) -> None:
    """Write ``results.tgz`` into ``folder``, in one move and only when nothing is wrong with it.

    Args:
        predict: from an image uint8 (3,H,W) to class indices (H,W).

    Raises:
        SegmentError: the archive has a fault.
    """
    from rich.progress import track

    from segment.visualize import palette_image

    dataset, target, part = data.dataset(split), folder / "results.tgz", folder / "results.tgz.part"
    inside = folder_of(data.year, competition, split)
    try:
        with tarfile.open(part, "w:gz", compresslevel=1) as archive:  # PNGs are compressed already
            for i in track(range(len(dataset)), "segmenting"):
                content = BytesIO()
                mask = predict(dataset.load(i)[0]).cpu().numpy()
                palette_image(mask, data.classes).save(content, "PNG")
                member = tarfile.TarInfo(str(inside / f"{dataset.id(i)}.png"))
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)
        for fault in faults(part, image_sizes(data, split), data.year, split):
            raise SegmentError(f"the archive would be refused: {fault.message}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    print(f"{target} has {len(dataset)} masks in {inside} ({COMPETITIONS[competition]})")
    if split != "test":
        print(f"note: VOC's server takes the split test, this is {split}")


def image_sizes(data: "VOCDataModule", split: str) -> dict[str, tuple[int, int]]:
    """(width, height) of a split's images by id, from the files' headers."""
    from PIL import Image

    sizes = {}
    for sample in data.dataset(split).samples:
        with Image.open(sample.image) as image:
            sizes[sample.id] = image.size
    return sizes


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
        with opened(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(printable(member.name))
                names[name] += member.isfile()
                fault = member_fault(member, name, allowed)
                if not fault and names[name] > 1:
                    fault = Fault("duplicate", f"{name} is in the archive more than once")
                if not fault and member.isfile():
                    if name.stem not in sizes:
                        fault = Fault("extra image", f"{name} is not in VOC{year}'s list {split}.txt")
                    elif content := archive.extractfile(member):
                        fault = mask_fault(name, content, sizes[name.stem])
                if fault:
                    yield fault
            stream.seek(archive.offset)
            while rest := stream.read(2**20):  # a compressed file's checksum is at its end
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("what follows is no part of a tar")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
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


def opened(path: Path) -> IO[bytes]:
    """A tar file's bytes, of one that gzip has compressed, too."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")  # type: ignore[return-value]  # it reads bytes


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


def mask_fault(name: PurePosixPath, content: Any, size: tuple[int, int]) -> Fault | None:
    """Whether a file is a mask of an image of this (width, height)."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from segment.data.classes import IGNORE
    from segment.data.images import PNG, unpack_png
    from segment.data.labels import UNREADABLE
    from segment.data.voc import VOC

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
    except (*UNREADABLE, EOFError, zlib.error) as error:
        return Fault("unreadable", f"{name} is no PNG that can be read: {error}")
    if IGNORE in labels:
        return Fault("void", f"{name} has label {IGNORE}: void is for the truth, every pixel is to be given a class")
    if labels[-1] >= len(VOC):
        return Fault("label", f"{name} has label {labels[-1]}: expected 0 to {len(VOC) - 1}")
    for label in labels:
        colour = tuple((palette or [])[3 * label : 3 * label + 3])
        if colour != VOC.palette[label]:
            return Fault("palette", f"{name} shows label {label} in {colour}: VOC's colour is {VOC.palette[label]}")
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--root", required=True, help="folder of VOCdevkit, with the images of the split")
    parser.add_argument("--year", type=int, default=2012)
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    from segment.data.voc import VOCDataModule

    try:
        if not arguments.archive.is_file():
            raise SegmentError(f"{arguments.archive} is no file: expected results.tgz, as segment.evaluate writes it")
        sizes = image_sizes(VOCDataModule(arguments.root, arguments.year), arguments.split)
    except SegmentError as error:
        sys.exit(f"error: {error}")
    kinds: Counter[str] = Counter()
    for fault in faults(arguments.archive, sizes, arguments.year, arguments.split):
        kinds[fault.kind] += 1
        if kinds[fault.kind] <= SHOWN:
            print(f"{fault.kind}: {fault.message}")
    if kinds:
        found = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
        sys.exit(f"error: {arguments.archive} would be refused: {found}")
    print(f"{arguments.archive} is complete: {len(sizes)} masks of VOC{arguments.year} {arguments.split}")


if __name__ == "__main__":
    main()
