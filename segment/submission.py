"""Check an archive for an evaluation server: ``python -m segment.submission results.tgz --root DIR``.

``segment.evaluate submit=voc`` writes ``results.tgz``, ``submit=ade20k`` ``results.zip``. What they hold is said by
:mod:`segment.prediction.voc_archive` and :mod:`segment.prediction.ade20k_archive`.
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
    description = "Check an archive for the evaluation server of VOC or, if it is a .zip, of ADE20K."
    parser = argparse.ArgumentParser("python -m segment.submission", description=description)
    parser.add_argument("archive", type=Path, help="results.tgz or results.zip, as segment.evaluate submit= writes it")
    parser.add_argument("--root", required=True, help="folder of the data set, with the images of the split")
    parser.add_argument("--year", type=int, default=2012, help="year of VOC, by default 2012")
    parser.add_argument("--split", default="test", help="split whose images must all have a mask, by default test")
    arguments = parser.parse_args()
    from segment.data.datasets.ade20k import ADE20KDataModule  # here, so that --help need not wait for torch
    from segment.data.datasets.voc import VOCDataModule
    from segment.prediction.ade20k_archive import ade20k_faults
    from segment.prediction.archive import image_sizes
    from segment.prediction.voc_archive import archive_faults

    archive, year, split = arguments.archive, arguments.year, arguments.split
    if not archive.is_file():
        sys.exit(f"error: {archive} is not a file: expected results.tgz or .zip, as segment.evaluate writes it")
    is_zip = archive.suffix == ".zip"
    server = "ADE20K" if is_zip else f"VOC{year}"
    try:
        data = ADE20KDataModule(arguments.root) if is_zip else VOCDataModule(arguments.root, year)
        sizes = image_sizes(data, split)
    except SegmentError as error:
        sys.exit(f"error: {error}")
    kinds: Counter[str] = Counter()
    for kind, message in ade20k_faults(archive, sizes) if is_zip else archive_faults(archive, sizes, year, split):
        kinds[kind] += 1
        if kinds[kind] <= FAULTS_SHOWN:
            print(f"{kind}: {message}")
    if kinds:
        found = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
        sys.exit(f"error: the server of {server} would refuse {archive}: {found}")
    print(f"{archive} is complete: {len(sizes)} masks of {server} {split}")


if __name__ == "__main__":
    exit_cleanly(submission)
