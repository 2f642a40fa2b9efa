"""The files that a command writes for an image: a PNG, which records its origin, and extras beside a mask."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from segment.data.png import unpack_png
from segment.errors import SegmentError
from segment.files import clear_parts, kind, whole_file
from segment.prediction.segmenter import Segmentation

TEXT_KEY = "segment"
"""Key of a text in the mask's PNG. Its first line is the mask's origin, its second line the suffixes of its files."""
JOURNALS = {"predict": ".segment_predict.txt", "apply": ".segment_apply.txt"}
"""File in each output folder with the names of the files that a command writes there, recorded before them."""
OVERLAY, LARGE_OVERLAY, JPEG_SIDE = "_overlay.jpg", "_overlay.png", 65_500
"""Suffixes of overlays, and the longest side, in pixels, that Pillow writes as a JPEG."""
EXTRAS = {OVERLAY: "overlay", ".json": "json", ".npz": "probabilities"}
"""Suffix of each file that can be written beside a mask, and the setting that turns it on."""


class OutputFiles:
    """The files of one image: the mask ``STEM.png`` and the extras beside it.

    An overlay that is too large for a JPEG is a PNG.

    Args:
        stem: path of all of them, without suffix.
        extras: suffixes of the extras to write, see :data:`EXTRAS`.
        command: the command that writes them.

    Example:
        >>> str(OutputFiles(Path("masks/cat"), [".json"]).path(".json"))
        'masks/cat.json'
    """

    def __init__(self, stem: Path, extras: list[str], command: str = "predict") -> None:
        self.stem, self.suffixes, self.command = stem, [".png", *extras], command
        self.journal = stem.parent / JOURNALS[command]

    def path(self, suffix: str) -> Path:
        """Return the path of the file with this suffix."""
        return self.stem.with_name(self.stem.name + suffix)

    def existing(self, suffix: str) -> Path:
        """Return the path of the file with this suffix, or of the large overlay where that is in its place."""
        large = self.path(LARGE_OVERLAY)
        return large if suffix == OVERLAY and large.is_file() else self.path(suffix)

    def targets(self) -> list[Path]:
        """Return the paths of all files that may be written."""
        return [self.path(suffix) for suffix in {*self.suffixes, LARGE_OVERLAY}]

    def recorded(self) -> tuple[str, list[str]]:
        """Return the origin in the existing mask and the suffixes that it lists; both empty if it records none."""
        try:
            with PngImageFile(self.path(".png")) as image:  # Image.open would refuse masks above its limit
                origin, _, suffixes = str(image.info.get(TEXT_KEY, "")).partition("\n")
        except Exception:  # PIL may raise anything on a broken file
            return "", []
        # Only known suffixes: these files may be removed, and the text is untrusted.
        return origin, [suffix for suffix in suffixes.split() if suffix in {".png", LARGE_OVERLAY, *EXTRAS}]

    def are_complete(self, origin: str) -> bool:
        """Return whether all files exist and the mask is undamaged and of this origin."""
        exist = all(self.existing(suffix).is_file() for suffix in self.suffixes)
        with suppress(ValueError):
            return exist and self.recorded()[0] == origin and bool(unpack_png(self.path(".png").read_bytes()))
        return False

    def _is_edited(self) -> bool:
        """Return whether the mask is an intact image that records no origin: another program has saved it."""
        if self.recorded()[0]:
            return False
        try:
            with PngImageFile(self.path(".png")) as image:
                image.load()
        except Exception:  # damaged: PIL may raise anything
            return False
        return True

    def foreign(self, own: frozenset[str], suffixes: Sequence[str] = ()) -> list[Path]:
        """Return existing files under these names that the command did not write, or that a user has edited.

        Args:
            own: names in the folder's journal, see :func:`written_names`.
            suffixes: suffixes of the files; by default those of an image of common size.
        """
        paths = [path for path in map(self.path, suffixes or self.suffixes) if os.path.lexists(path)]
        mask = self.path(".png")
        return [path for path in paths if json.dumps(path.name) not in own or (path == mask and self._is_edited())]

    def write(self, result: Segmentation, image: Path | str, origin: str) -> None:
        """Record the names in the folder's journal, write all files and move them into place, the mask last.

        Args:
            image: path, or another text, by which the JSON file names the image.
            origin: everything that the mask depends on, in one line.

        Raises:
            SegmentError: a file of another program has the name of the large overlay.
        """
        overlay = result.overlay(legend=True) if OVERLAY in self.suffixes else None
        is_large = overlay is not None and max(overlay.size) > JPEG_SIDE
        suffixes = [LARGE_OVERLAY if is_large and suffix == OVERLAY else suffix for suffix in self.suffixes]
        if is_large:
            self.refuse_foreign(written_names(self.journal), [LARGE_OVERLAY])
        self.record_names(suffixes)
        earlier, others = self.recorded()
        if earlier != origin:  # extras that belong to another mask
            for suffix in {*others} - {*suffixes}:
                self.path(suffix).unlink(missing_ok=True)
            others = []
        text = _origin_text(origin, dict.fromkeys([*suffixes, *others]))
        with ExitStack() as stack:  # the file that is opened first is moved last
            files = {suffix: stack.enter_context(whole_file(self.path(suffix), "wb")) for suffix in suffixes}
            result.palette_image().save(files[".png"], "PNG", pnginfo=text)
            if overlay is not None:
                overlay.save(files[LARGE_OVERLAY if is_large else OVERLAY], "PNG" if is_large else "JPEG", quality=92)
            if ".json" in files:
                height, width = result.mask.shape
                content = {"image": str(image), "width": width, "height": height, "pixels": result.counts()}
                encoded = json.dumps(content, indent=2, ensure_ascii=False).encode(errors="backslashreplace")
                files[".json"].write(encoded)
            if ".npz" in files:
                assert result.probabilities is not None
                np.savez_compressed(files[".npz"], probabilities=result.probabilities, classes=result.classes.names)

    def write_picture(self, picture: Image.Image, origin: str) -> None:
        """Record the name in the folder's journal and write a picture as the only file."""
        self.record_names([".png"])
        with whole_file(self.path(".png"), "wb") as file:
            picture.save(file, "PNG", pnginfo=_origin_text(origin, [".png"]))

    def refuse_foreign(self, own: frozenset[str], suffixes: Sequence[str] = ()) -> None:
        """Raise a SegmentError that names a file which the command would overwrite and did not write, see `foreign`."""
        if paths := self.foreign(own, suffixes):
            raise SegmentError(f"{paths[0]} exists, and segment.{self.command} did not write it: choose another folder")

    def record_names(self, suffixes: Sequence[str]) -> None:
        """Record the names of the files with these suffixes in the folder's journal, before they are written."""
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.writelines(f"{json.dumps(self.path(suffix).name)}\n" for suffix in suffixes)


def _origin_text(origin: str, suffixes: Iterable[str]) -> PngInfo:
    """Return the text of a PNG: the origin, and the suffixes of the files that belong to it."""
    text = PngInfo()
    text.add_text(TEXT_KEY, f"{origin}\n{' '.join(suffixes)}")
    return text


def written_names(journal: Path) -> frozenset[str]:
    """Return the names that a folder's journal lists, as JSON, since a name may have line ends."""
    try:
        return frozenset(journal.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return frozenset()


def output_stems(inputs: list[Path], base: Path, output: Path, others: Iterable[Path] = ()) -> dict[Path, Path]:
    """Return a path below ``output`` for each input, with its sub-folder and its name.

    The name loses its suffix unless inputs differ in that alone.

    Args:
        inputs: files below ``base``.
        others: names, relative to ``base``, that no input may have without its suffix.
    """
    names = [path.relative_to(base) for path in inputs]
    taken = Counter(names) + Counter(name.with_suffix("") for name in names) + Counter({*others})
    stems = [stem if taken[stem := name.with_suffix("")] == 1 else name for name in names]
    return {path: output / stem for path, stem in zip(inputs, stems, strict=True)}


def prepare_folder(output: Path, plan: Mapping[Path, OutputFiles]) -> None:
    """Check that nothing of others would be overwritten, create the folder ``output``, and delete what a kill left.

    Raises:
        SegmentError: a file would be overwritten, or ``output`` is a file.
        OSError: the folder cannot be created.
    """
    names, inputs = cache(written_names), {os.path.realpath(path) for path in plan}
    for files in plan.values():
        for target in map(files.path, files.suffixes):
            if os.path.realpath(target) in inputs:
                raise SegmentError(f"output={output}: {target} would overwrite an input; choose another folder")
        files.refuse_foreign(names(files.journal))
    if output.exists() and not output.is_dir():
        raise SegmentError(f"output={output}: it is {kind(output)}, expected a folder")
    output.mkdir(parents=True, exist_ok=True)
    clear_parts(path for files in plan.values() for path in files.targets())
