"""What ``segment.predict`` leaves of an image: its mask, what was asked for beside it, and a note of what they are."""

import json
import os
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from segment.errors import SegmentError
from segment.files import whole_file

if TYPE_CHECKING:
    from segment.prediction.segmenter import Segmentation

TAG = "segment"
"""Of a mask's PNG: what it was made of and by; on a line of its own what the files' names end in that belong to it."""


EXTRAS = {"_overlay.jpg": "overlay", ".json": "json", ".npz": "probabilities"}
"""What the names of the files beside a mask end in, and the setting that asks for each."""


class Outputs:
    """The files of one image: the mask ``STEM.png`` and those beside it.

    Args:
        stem: path of all of them, without what it ends in.
        extras: those of :data:`EXTRAS` that are asked for.
    """

    def __init__(self, stem: Path, extras: list[str]) -> None:
        self.stem = stem
        self.suffixes = [".png", *extras]

    def path(self, suffix: str) -> Path:
        """Of the file whose name ends so."""
        return self.stem.with_name(self.stem.name + suffix)

    def note(self) -> tuple[str, list[str]]:
        """What the mask that is there says it was made of, and the suffixes of all that came with it; nothing if it is
        none of ours."""
        from PIL.PngImagePlugin import PngImageFile

        try:
            with PngImageFile(self.path(".png")) as image:  # Image.open would refuse it where its image is too large
                tag, _, suffixes = str(image.info.get(TAG, "")).partition("\n")
        except Exception:  # PIL raises whatever a broken file makes it run into
            return "", []
        return tag, [suffix for suffix in suffixes.split() if suffix in {".png", *EXTRAS}]  # whatever a stranger's says

    def refuse_others(self) -> None:
        """Keep what somebody else put where the outputs are to go.

        Raises:
            SegmentError: there is a file by such a name that is not of our making.
        """
        there = [path for path in map(self.path, self.suffixes) if os.path.lexists(path)]
        own = [self.path(suffix) for suffix in self.note()[1]] if there else []
        for path in there:
            if path not in own:
                raise SegmentError(f"{path} is there, and not of segment.predict's making: choose another folder")

    def are_made_of(self, tag: str) -> bool:
        """Whether all of them are there and whole, and the mask says so."""
        from segment.data.images import unpack_png

        if not all(self.path(suffix).is_file() for suffix in self.suffixes) or self.note()[0] != tag:
            return False
        try:
            unpack_png(self.path(".png").read_bytes())
        except (ValueError, zlib.error):
            return False
        return True

    def write(self, found: "Segmentation", image: Path, tag: str) -> None:
        """Put them in their places together, the mask last: where it is, the others are."""
        import numpy as np
        from PIL.PngImagePlugin import PngInfo

        earlier, beside = self.note()
        if earlier != tag:  # made of another image, or in another way
            for suffix in {*beside} - {*self.suffixes}:
                self.path(suffix).unlink(missing_ok=True)
            beside = []
        with ExitStack() as stack:  # what is opened first is put in its place last
            files = {suffix: stack.enter_context(whole_file(self.path(suffix), "wb")) for suffix in self.suffixes}
            note = PngInfo()
            note.add_text(TAG, f"{tag}\n{' '.join(dict.fromkeys([*self.suffixes, *beside]))}")
            found.palette_image().save(files[".png"], "PNG", pnginfo=note)
            if "_overlay.jpg" in files:
                found.overlay().save(files["_overlay.jpg"], "JPEG", quality=92)
            if ".json" in files:
                height, width = found.mask.shape
                content = {"image": str(image), "width": width, "height": height, "pixels": found.counts()}
                text = json.dumps(content, indent=2, ensure_ascii=False)
                files[".json"].write(text.encode(errors="backslashreplace"))
            if ".npz" in files:
                assert found.probabilities is not None
                names = np.array(found.classes.names)
                np.savez_compressed(files[".npz"], probabilities=found.probabilities, classes=names)
