"""Agreement of a data set's files with each other, as far as their headers show it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import numpy as np

from segment.data.headers import image_header
from segment.data.images import Reading, largest_value
from segment.data.labels import Labels
from segment.data.pairs import Finding, PairHeaders, Sample

GREY = bytes(np.repeat(np.arange(256), 3).astype(np.uint8))
"""Palette in which every index is its own grey value."""
BLACK_AND_WHITE = bytes([0, 0, 0, 255, 255, 255])
WAY_ON = (
    "if the colours tell the classes, give data.classes a table of them, such as {128/64/128: road}; "
    "if the stored values are the labels, set data.palette=indices"
)


def palette_problem(headers: Mapping[Sample, PairHeaders], labels: Labels) -> Finding | None:
    """Return a problem if an index has different meanings in two masks: palettes differ, or only some masks have one.

    Masks are decoded only where palettes differ, to see which entries are in use.

    Raises:
        SegmentError: a mask cannot be read.
    """
    groups: dict[bytes, list[Path]] = defaultdict(list)
    for sample, pair in headers.items():
        if pair.mask is not None and sample.mask is not None:
            palette = pair.mask.palette or GREY
            if pair.mask.format == "GIF" and _renumbered(palette):
                return Finding("palette", f"{sample.mask} is a GIF that may number its grey values anew: {WAY_ON}")
            colours = palette.rstrip(b"\0")
            groups[GREY if colours and GREY.startswith(colours) else palette].append(sample.mask)
    if GREY in groups:  # a palette of black alone, as of a mask without an object, is grey as well
        for palette in [palette for palette in groups if not palette.strip(b"\0")]:
            groups[GREY] += groups.pop(palette)
    if len(groups) > 1 and (grey := groups.get(GREY)):
        coloured = next(paths[0] for palette, paths in groups.items() if palette != GREY)
        return Finding("palette", f"{grey[0]} is a mask of grey values, {coloured} has a palette of colours: {WAY_ON}")
    differing = _differing_entries([*groups])
    used: dict[int, tuple[bytes, Path]] = {}
    # The first mask of each palette, then the second of each, and so on: masks that disagree are found early.
    rows = zip_longest(*groups.values()) if differing else ()
    for palette, path in ((palette, path) for row in rows for palette, path in zip(groups, row, strict=True) if path):
        for index in sorted(differing.intersection(np.unique(labels.read_values(path)).tolist())):
            colour = palette[3 * index : 3 * index + 3]
            first, other = used.setdefault(index, (colour, path))
            if colour and first != colour:
                shown = " and ".join("/".join(map(str, one)) for one in (first, colour))
                return Finding("palette", f"{other} and {path} show the value {index} as {shown}: {WAY_ON}")
    return None


def _renumbered(palette: bytes) -> bool:
    """Return True for grey values that are not their own indices: PIL leaves those out of a GIF that no pixel has."""
    colours = palette.rstrip(b"\0")
    if GREY.startswith(colours) or colours == BLACK_AND_WHITE:
        return False
    return palette[::3] == palette[1::3] == palette[2::3]


def _differing_entries(palettes: Sequence[bytes]) -> set[int]:
    """Return the indices that two palettes give different colours."""
    entries = zip_longest(*([palette[i : i + 3] for i in range(0, len(palette), 3)] for palette in palettes))
    return {index for index, colours in enumerate(entries) if len({*colours} - {None}) > 1}


def find_bits(paths: Iterable[Path], reading: Reading) -> int | None:
    """Return the smallest of 8, 10, 12, 14 and 16 bits that holds all values of the images of 16 bits.

    None if no image has 16 bits. Images that cannot be read are left out.
    """

    def largest(path: Path) -> int:
        try:
            return largest_value(path, reading) if image_header(path).depth == 16 else -1
        except Exception:  # see image_header
            return -1

    found = -1
    with ThreadPoolExecutor(8) as pool:
        for value in pool.map(largest, paths):
            found = max(found, value)
            if found >= 2**14:  # further images cannot change the result
                pool.shutdown(wait=False, cancel_futures=True)
                break
    return None if found < 0 else next(bits for bits in (8, 10, 12, 14, 16) if found < 2**bits)


def header_notes(headers: Mapping[Sample, PairHeaders], reading: Reading) -> list[Finding]:
    """Return notes on facts that the headers leave open, and how the files are read."""
    more = [sample.image for sample, pair in headers.items() if pair.image.bands > 3 and not reading.bands]
    grey = [sample.image for sample, pair in headers.items() if pair.image.bands < 3 and not reading.bands]
    frames = [sample.image for sample, pair in headers.items() if pair.image.more_pages]
    turned = [sample.image for sample, pair in headers.items() if pair.turned_with_image and pair.fits_both_ways]
    if reading.mask_exif == "image":
        turned = []
    alone = [sample.image for sample, pair in headers.items() if pair.mask_turned_alone]
    texts = {
        "frames": "have several pages or frames: the first one is read",
        "bands": "have more bands than red, green and blue: the first three are read, and data.bands=[0,1,2] chooses",
        "two bands": "have two bands: the first is read as grey, and data.bands=[0,1,1] chooses",
        "EXIF": "are turned by their EXIF orientation: their masks are read as drawn on the turned images, and "
        "data.mask_exif=image is for masks that are drawn on the stored pixels",
        "mask EXIF": "have masks with an EXIF orientation, which turns the mask alone: if that is wrong, save the "
        "masks without it",
    }
    return [
        Finding(kind, f"{len(found)} of {len(headers)} images, such as {found[0]}, {text}")
        for (kind, text), found in zip(texts.items(), (frames, more, grey, turned, alone), strict=True)
        if found
    ]
