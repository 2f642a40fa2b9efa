"""The files that ``segment.predict`` writes for an image: the mask, which records its origin, and extras beside it."""

import json
import os
import zlib
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngImageFile, PngInfo

from segment.data.png import unpack_png
from segment.errors import SegmentError
from segment.files import whole_file
from segment.prediction.segmenter import Segmentation

TEXT_KEY = "segment"
"""Key of a text in the mask's PNG. Its first line is the mask's origin, its second line the suffixes of its files."""
JOURNAL = ".segment_predict.txt"
"""File in each output folder with the names of the files that are written there, recorded before they are written."""
EXTRAS = {"_overlay.jpg": "overlay", ".json": "json", ".npz": "probabilities"}
"""Suffix of each file that can be written beside a mask, and the setting that turns it on."""


class OutputFiles:
    """The files of one image: the mask ``STEM.png`` and the extras beside it.

    Args:
        stem: path of all of them, without suffix.
        extras: suffixes of the extras to write, see :data:`EXTRAS`.

    Example:
        >>> str(OutputFiles(Path("masks/cat"), [".json"]).path(".json"))
        'masks/cat.json'
    """

    def __init__(self, stem: Path, extras: list[str]) -> None:
        self.stem, self.suffixes, self.journal = stem, [".png", *extras], stem.parent / JOURNAL

    def path(self, suffix: str) -> Path:
        """Return the path of the file with this suffix."""
        return self.stem.with_name(self.stem.name + suffix)

    def recorded(self) -> tuple[str, list[str]]:
        """Return the origin in the existing mask and the suffixes that it lists; both empty if it records none."""
        try:
            with PngImageFile(self.path(".png")) as image:  # Image.open would refuse masks above its limit
                origin, _, suffixes = str(image.info.get(TEXT_KEY, "")).partition("\n")
        except Exception:  # PIL may raise anything on a broken file
            return "", []
        # Only known suffixes: these files may be removed, and the text is untrusted.
        return origin, [suffix for suffix in suffixes.split() if suffix in {".png", *EXTRAS}]

    def are_complete(self, origin: str) -> bool:
        """Return whether all files exist and the mask is undamaged and of this origin."""
        exist = all(self.path(suffix).is_file() for suffix in self.suffixes)
        with suppress(ValueError, zlib.error):
            return exist and self.recorded()[0] == origin and bool(unpack_png(self.path(".png").read_bytes()))
        return False

    def foreign(self) -> list[Path]:
        """Return existing files under these names that ``segment.predict`` did not write, by the folder's journal."""
        try:
            own = {*self.journal.read_text(encoding="utf-8", errors="surrogateescape").splitlines()}
        except OSError:
            own = set()
        return [path for path in map(self.path, self.suffixes) if os.path.lexists(path) and path.name not in own]

    def write(self, result: Segmentation, image: Path, origin: str) -> None:
        """Record the names in the folder's journal, write all files and move them into place, the mask last.

        Args:
            image: path that the JSON file names.
            origin: everything that the mask depends on, in one line.
        """
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8", errors="surrogateescape") as journal:
            journal.writelines(f"{self.path(suffix).name}\n" for suffix in self.suffixes)
        earlier, others = self.recorded()
        if earlier != origin:  # extras that belong to another mask
            for suffix in {*others} - {*self.suffixes}:
                self.path(suffix).unlink(missing_ok=True)
            others = []
        text = PngInfo()
        text.add_text(TEXT_KEY, f"{origin}\n{' '.join(dict.fromkeys([*self.suffixes, *others]))}")
        with ExitStack() as stack:  # the file that is opened first is moved last
            files = {suffix: stack.enter_context(whole_file(self.path(suffix), "wb")) for suffix in self.suffixes}
            result.palette_image().save(files[".png"], "PNG", pnginfo=text)
            if "_overlay.jpg" in files:
                result.overlay().save(files["_overlay.jpg"], "JPEG", quality=92)
            if ".json" in files:
                height, width = result.mask.shape
                content = {"image": str(image), "width": width, "height": height, "pixels": result.counts()}
                encoded = json.dumps(content, indent=2, ensure_ascii=False).encode(errors="backslashreplace")
                files[".json"].write(encoded)
            if ".npz" in files:
                assert result.probabilities is not None
                np.savez_compressed(files[".npz"], probabilities=result.probabilities, classes=result.classes.names)


def plan_outputs(images: list[Path], base: Path, output: Path, extras: list[str]) -> dict[Path, OutputFiles]:
    """Return the output files of each image: below ``output``, with its sub-folder and its name.

    The name loses its suffix unless images differ in that alone.

    Raises:
        SegmentError: an output would overwrite an input.
    """
    inputs = {os.path.realpath(image) for image in images}
    names = [image.relative_to(base) for image in images]
    taken = Counter(names) + Counter(name.with_suffix("") for name in names)
    plan = {}
    for image, name in zip(images, names, strict=True):
        stem = name.with_suffix("")
        plan[image] = files = OutputFiles(output / (stem if taken[stem] == 1 else name), extras)
        for target in (files.path(".png"), files.path("_overlay.jpg")):
            if os.path.realpath(target) in inputs:
                raise SegmentError(f"output={output}: {target} would overwrite an input; choose another folder")
    return plan


def prepare_folder(output: Path, plan: dict[Path, OutputFiles]) -> None:
    """Check that no foreign file would be overwritten, then create the folder ``output``.

    Raises:
        SegmentError: a foreign file exists under one of the names, or ``output`` is a file.
        OSError: the folder cannot be created.
    """
    for files in plan.values():
        for path in files.foreign():
            raise SegmentError(f"{path} exists, and segment.predict did not write it: choose another folder")
    if output.is_file():
        raise SegmentError(f"output={output}: it is a file, expected a folder")
    output.mkdir(parents=True, exist_ok=True)
