"""The archive of masks that ADE20K's evaluation server takes: how it is written and how it is checked.

It is a zip file with ``ADE_test_00000001.png`` for each test image: the labels 1 to 150, and never 0, which is "other"
in the truth.
"""

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rich.progress import track
from torch import Tensor

from segment.data.datasets.ade20k import ADE20K, ADE20KDataModule
from segment.data.pairs import Finding
from segment.errors import SegmentError
from segment.files import printable, whole_file
from segment.prediction.archive import MASK_BYTES, cut_off, image_sizes, mask_fault, missing_images


def write_ade20k_archive(predict: Callable[[Tensor], Tensor], data: ADE20KDataModule, split: str, target: Path) -> None:
    """Write an archive, and keep it only if it has no fault.

    Args:
        predict: a function from an image uint8 (3,H,W) to class indices (H,W).
        target: path of the archive.

    Raises:
        SegmentError: the archive has a fault.
    """
    dataset = data.dataset(split)
    with whole_file(target, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:  # PNGs are compressed already
            for i in track(range(len(dataset)), "segmenting"):
                content = BytesIO()
                labels = predict(dataset.load(i)[0]).cpu().numpy() + 1
                Image.fromarray(labels.astype(np.uint8)).save(content, "PNG")
                archive.writestr(f"{dataset.id(i)}.png", content.getvalue())
        file.flush()
        for fault in ade20k_faults(Path(file.name), image_sizes(data, split)):
            raise SegmentError(f"ADE20K's server would refuse the archive: {fault.message}")
    print(f"{target} has {len(dataset)} masks")
    if split != "test":
        print(f"note: ADE20K's server takes the split test, this is {split}")


def ade20k_faults(path: Path, sizes: Mapping[str, tuple[int, int]]) -> Iterator[Finding]:
    """Read an archive, without unpacking it to disk, and yield every reason for the server to refuse it.

    Args:
        sizes: (width, height) of each image of the split, by id.
    """
    files: Counter[PurePosixPath] = Counter()
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = PurePosixPath(printable(member.filename))
                files[name] += 1
                if member.is_dir() or len(name.parts) > 1 or name.suffix != ".png":
                    yield Finding("layout", f"{name}: expected ID.png, in no folder")
                elif files[name] > 1:
                    yield Finding("duplicate", f"{name} is in the archive more than once")
                elif name.stem not in sizes:
                    yield Finding("extra image", f"{name} is no image of the split")
                else:
                    with archive.open(member) as content:
                        fault = mask_fault(name, content.read(MASK_BYTES), sizes[name.stem], ade20k_label_fault)
                    if fault:
                        yield fault
    except Exception as error:  # zipfile may raise anything on a broken file
        yield cut_off(path, ".zip", files.total(), error)
        if not files.total():
            return
    yield from missing_images({name.stem for name in files if len(name.parts) == 1}, sizes)


def ade20k_label_fault(name: PurePosixPath, labels: list[int], palette: list[int] | None) -> Finding | None:
    """Return the fault of a mask with labels, in ascending order, that are not those of ADE20K's classes."""
    if labels[0] == 0:
        return Finding("other", f"{name} has label 0, which is for the ground truth: give each pixel a class from 1 on")
    if labels[-1] > len(ADE20K):
        return Finding("label", f"{name} has label {labels[-1]}: expected 1 to {len(ADE20K)}")
    return None
