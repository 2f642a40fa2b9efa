"""Folders and split lists of a data set on disk."""

from pathlib import Path
from typing import Any

from segment.errors import SegmentError


class DiskLayout:
    """Look-up of a data set's folders. ``root`` may be the folder that holds the data set, or the data set's own.

    For VOC, ``root`` may be the folder of ``VOCdevkit``, ``VOCdevkit`` itself, or ``VOCdevkit/VOC2012``.
    """

    root: Path
    layout: str = "its images and masks"
    """Description of the expected folders below ``root``, for error messages."""
    downloadable: bool = False
    """True if ``data.download=true`` fetches it."""

    def location(self) -> dict[str, str]:
        """Return the absolute ``root``, for a checkpoint that will be evaluated from another working directory."""
        return {"root": str(self.root.absolute())}

    def settings(self) -> dict[str, Any]:
        """Return the settings that a checkpoint records in addition to those of the configuration."""
        return self.location()

    def _candidates(self, *parts: str) -> list[Path]:
        names = {self.root.absolute().name, self.root.resolve().name}
        return [self.root.joinpath(*parts[n:]) for n in range(len(parts) + 1) if n == 0 or parts[n - 1] in names]

    def find_folder(self, *parts: str) -> Path | None:
        """Return a folder of the data set, or None if it is missing; ``root`` may end with some of ``parts``."""
        return next((path for path in self._candidates(*parts) if path.is_dir()), None)

    def expected_folder(self, *parts: str) -> Path:
        """Return the path of a folder of the data set, whether it exists or not."""
        return self.find_folder(*parts) or self._candidates(*parts)[-1]

    def below_root(self, path: Path) -> str:
        """Return a path relative to ``root``, as the target of a :class:`segment.data.downloads.fetch.Release`."""
        return str(path.relative_to(self.root))

    def folder(self, *parts: str) -> Path:
        """Return an existing folder of the data set.

        Raises:
            SegmentError: the folder is missing.
        """
        path = self.find_folder(*parts)
        if path is None:
            way = "; data.download=true downloads it" * self.downloadable
            raise SegmentError(f"no data set at data.root={self.root}: expected {self.layout} there{way}")
        return path

    def read_list(self, path: Path) -> list[str]:
        """Return the lines of a split's list without comments ("# ..."); a Windows list's backslashes become slashes.

        Raises:
            SegmentError: the list is missing, empty or not a text.
        """
        if not path.is_file():
            found = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
            raise SegmentError(f"the split list {path} is missing; lists found there: {found}")
        try:
            text = path.read_text("utf-8-sig").replace("\\", "/")
        except UnicodeDecodeError:
            raise SegmentError(f"the split list {path} is no UTF-8 text: save it as UTF-8") from None
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("# ")]
        if not lines:
            raise SegmentError(f"the split list {path} is empty")
        return lines
