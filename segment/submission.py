"""The archive that PASCAL VOC's evaluation server takes: written, and read back to say what is wrong with one.

    python -m segment.submission results.tgz --root DIR

:mod:`segment.prediction.voc_archive` says what the server wants.
"""

import argparse
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segment.errors import SegmentError
from segment.prediction.voc_archive import COMPETITIONS, faults, folder_of

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from torch import Tensor

    from segment.data.datasets.voc import VOCDataModule

SHOWN = 5
"""Faults of one kind on the screen."""


def check_submission(server: str, competition: str, data: Any) -> None:
    """Whether there is such a server and competition, and the data is what they are about.

    Raises:
        SegmentError: if not.
    """
    from segment.data.datasets.voc import VOCDataModule

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

    from segment.display.pictures import palette_image

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


def main() -> None:
    parser = argparse.ArgumentParser("python -m segment.submission", description="What is wrong with an archive.")
    parser.add_argument("archive", type=Path, help="results.tgz, as segment.evaluate submit=voc writes it")
    parser.add_argument("--root", required=True, help="folder of VOCdevkit, with the images of the split")
    parser.add_argument("--year", type=int, default=2012, help="of VOC, by default 2012")
    parser.add_argument("--split", default="test", help="whose list has to be complete, by default test")
    arguments = parser.parse_args()
    from segment.data.datasets.voc import VOCDataModule

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
