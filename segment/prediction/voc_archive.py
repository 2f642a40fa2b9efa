"""The archive of masks that PASCAL VOC's evaluation server takes: how it is written and how it is checked.

It is a tar file, gzipped or not, with a palette PNG of class indices for each image of the test list:
``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` (VOC2012 development kit, section 5.3).
"""

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

from rich.progress import track
from torch import Tensor

from segment.data.classes import IGNORE
from segment.data.datasets.voc import VOC, VOCDataModule
from segment.data.downloads.unpack import tar_members
from segment.data.pairs import Finding
from segment.display.pictures import palette_image
from segment.errors import SegmentError
from segment.files import printable, whole_file
from segment.prediction.archive import COMPETITIONS, MASK_BYTES, cut_off, image_sizes, mask_fault, missing_images


def masks_folder(year: int, competition: str, split: str) -> PurePosixPath:
    """Return the folder of the masks inside the archive."""
    return PurePosixPath("results", f"VOC{year}", "Segmentation", f"{competition}_{split}_cls")


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
            elif content and (fault := mask_fault(name, content.read(MASK_BYTES), sizes[name.stem], label_fault)):
                yield fault
    except Exception as error:  # tarfile may raise anything on a broken file
        yield cut_off(path, ".tar, .tar.gz or .tgz", files.total(), error)
        if not files.total():
            return
    parents, found = {name.parent for name in files}, {name.stem for name, count in files.items() if count}
    if parents.issuperset(folders):
        yield Finding("layout", f"masks lie in {' and in '.join(map(str, folders))}: an archive is for one competition")
    yield from missing_images(found, sizes)


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


def label_fault(name: PurePosixPath, labels: list[int], palette: list[int] | None) -> Finding | None:
    """Return the fault of a mask with labels, in ascending order, or colours that are not those of VOC's classes."""
    palette = VOC.flat_palette() if palette is None else palette
    if IGNORE in labels:
        return Finding("void", f"{name} has label {IGNORE}, which is for the ground truth: give each pixel a class")
    if labels[-1] >= len(VOC):
        return Finding("label", f"{name} has label {labels[-1]}: expected 0 to {len(VOC) - 1}")
    for label in labels:
        colour, expected = tuple(palette[3 * label : 3 * label + 3]), VOC.palette[label]
        if colour != expected:
            return Finding("palette", f"{name} shows label {label} in {colour}: VOC's colour is {expected}")
    return None
