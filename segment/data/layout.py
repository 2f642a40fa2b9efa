"""Where the folders and lists of a data set lie below its root."""

from pathlib import Path

from segment.errors import SegmentError


class Located:
    """A data set on disk; ``root`` is the folder that it is in, or its own folder."""

    root: Path
    layout: str
    """What is expected below ``root``, for the error message."""

    def location(self) -> dict[str, str]:
        """Where the data lies, for a checkpoint that will be evaluated from another folder."""
        return {"root": str(self.root.absolute())}

    def _places(self, *parts: str) -> list[Path]:
        names = {self.root.absolute().name, self.root.resolve().name}
        return [self.root.joinpath(*parts[n:]) for n in range(len(parts) + 1) if n == 0 or parts[n - 1] in names]

    def find(self, *parts: str) -> Path | None:
        """A folder of the data set, if it exists; ``parts`` may start at ``root`` or already be its end."""
        return next((path for path in self._places(*parts) if path.is_dir()), None)

    def place(self, *parts: str) -> Path:
        """Where a folder of the data set is, or belongs if there is none."""
        return self.find(*parts) or self._places(*parts)[-1]

    def within(self, path: Path) -> str:
        """A path below ``root``, as a :class:`segment.data.downloads.fetch.Release` has it."""
        return str(path.relative_to(self.root))

    def folder(self, *parts: str) -> Path:
        """:meth:`find`, where there is no going on without it.

        Raises:
            SegmentError: there is no such folder.
        """
        path = self.find(*parts)
        if path is None:
            raise SegmentError(f"no data set at data.root={self.root}: expected {self.layout} there")
        return path

    def list_ids(self, path: Path) -> list[str]:
        """The lines of a split's list, with slashes for a Windows list's backslashes, without comments ("# ...").

        Raises:
            SegmentError: the list is missing, empty or no text.
        """
        if not path.is_file():
            have = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
            raise SegmentError(f"the split list {path} is missing; lists found there: {have}")
        try:
            text = path.read_text("utf-8-sig").replace("\\", "/")
        except UnicodeDecodeError:
            raise SegmentError(f"the split list {path} is no UTF-8 text: save it as UTF-8") from None
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("# ")]
        if not lines:
            raise SegmentError(f"the split list {path} is empty")
        return lines
