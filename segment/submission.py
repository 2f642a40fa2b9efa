"""Check an archive for PASCAL VOC's evaluation server: ``python -m segment.submission results.tgz --root DIR``.

``segment.evaluate submit=voc`` writes such an archive; :mod:`segment.prediction.voc_archive` says what it holds.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from segment.cli.entry_point import exit_cleanly
from segment.errors import SegmentError

FAULTS_SHOWN = 5
"""Number of faults of each kind that are printed."""


def submission() -> None:
    """Print the faults of the archive that the command line names, and exit with an error if it has any."""
    parser = argparse.ArgumentParser("python -m segment.submission", description="Check an archive for VOC's server.")
    parser.add_argument("archive", type=Path, help="results.tgz, as segment.evaluate submit=voc writes it")
    parser.add_argument("--root", required=True, help="folder of VOCdevkit, with the images of the split")
    parser.add_argument("--year", type=int, default=2012, help="year of VOC, by default 2012")
    parser.add_argument("--split", default="test", help="split whose images must all have a mask, by default test")
    arguments = parser.parse_args()
    from segment.data.datasets.voc import VOCDataModule  # here, so that --help need not wait for torch
    from segment.prediction.voc_archive import archive_faults, image_sizes

    archive, year, split = arguments.archive, arguments.year, arguments.split
    if not archive.is_file():
        sys.exit(f"error: {archive} is not a file: expected results.tgz, as segment.evaluate writes it")
    try:
        sizes = image_sizes(VOCDataModule(arguments.root, year), split)
    except SegmentError as error:
        sys.exit(f"error: {error}")
    kinds: Counter[str] = Counter()
    for kind, message in archive_faults(archive, sizes, year, split):
        kinds[kind] += 1
        if kinds[kind] <= FAULTS_SHOWN:
            print(f"{kind}: {message}")
    if kinds:
        found = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
        sys.exit(f"error: VOC's server would refuse {archive}: {found}")
    print(f"{archive} is complete: {len(sizes)} masks of VOC{year} {split}")


if __name__ == "__main__":
    exit_cleanly(submission)
