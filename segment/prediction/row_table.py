"""The table of ``segment.apply``: rows of images and frames, kept on the disk as they come, and one CSV of them."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segment.errors import SegmentError
from segment.files import printable, whole_file
from segment.prediction.video import VideoFrame

KEPT_ROWS = ".segment_apply_{}.jsonl"
"""File in the output folder with the rows of an effect, so that an interrupted command continues."""
Key = tuple[str, int]
"""Path of an image with 0, or of a video with the number of a frame."""


class RowTable:
    """The rows of all images and frames. They stay on the disk, since a long video has many.

    Args:
        output: folder of the table.
        name: name of the effect, and of the file.

    Raises:
        SegmentError: the file exists and is of another program.
    """

    def __init__(self, output: Path, name: str) -> None:
        self.path, self.kept = output / f"{name}.csv", output / KEPT_ROWS.format(name)
        self._earlier: dict[Key, tuple[int, int]] = {}
        self._places: dict[Key, int] = {}
        with suppress(OSError), self.kept.open("rb") as file:
            place = 0
            for line in file:
                with suppress(ValueError, TypeError):  # the last line may be cut off
                    image, number, origin, _ = json.loads(line)
                    self._earlier[image, number] = hash(origin), place
                place += len(line)
        if self.path.exists() and not self.kept.is_file():
            raise SegmentError(f"{self.path} exists, and segment.apply did not write it: choose another folder")

    def has(self, path: Path, origin: str, frame: VideoFrame | None = None) -> bool:
        """Return whether earlier rows of an image or frame are of this origin, and take them into the table."""
        key = str(path), frame.number if frame else 0
        earlier, place = self._earlier.get(key, (None, 0))
        if earlier == hash(origin):
            self._places[key] = place
        return key in self._places

    def add(self, path: Path, origin: str, result: Any, frame: VideoFrame | None = None) -> None:
        """Keep the result of an image or frame: a named tuple, or a list of them."""
        rows = [row._asdict() for row in (result if isinstance(result, list) else [result])]
        head = {"frame": frame.number, "time": round(frame.time, 6)} if frame else {}
        key = str(path), frame.number if frame else 0
        # The line before may be cut off.
        line = b"\n" + json.dumps([*key, origin, [{**head, **row} for row in rows]]).encode()
        with self.kept.open("ab") as file:
            file.write(line)
            file.flush()
            self._places[key] = file.tell() - len(line) + 1  # another process may have added a line just before

    def _rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows that were added or taken, in that order, with the classes' names."""
        with self.kept.open("rb") as file:
            for (image, _), place in self._places.items():
                file.seek(place)
                for row in json.loads(file.readline())[3]:
                    if "label" in row:
                        row["class"] = names[row.pop("label")]
                    yield {"image": image, **row}

    def write(self, names: Sequence[str]) -> str:
        """Write the rows that were added or taken, in that order, and return lines that sum them up."""
        has_frames, count, alerts = any(number for _, number in self._places), 0, Counter[str]()
        first = next(self._rows(names), {"image": ""}) if self._places else {"image": ""}
        head = ["image", *(["frame", "time"] if has_frames else []), *(["class"] if "class" in first else [])]
        with whole_file(self.path, encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys([*head, *first])))
            writer.writeheader()
            for row in self._rows(names) if self._places else ():
                writer.writerow(row)
                count += 1
                alerts[row["image"]] += row.get("alert", False)
        if self.path.stem != "alert":
            return f"{count} regions: {self.path}"
        frames = Counter(image for image, number in self._places if number)
        lines = [
            f"alert  {printable(image)}" + (f": {found} of {frames[image]} frames" if image in frames else "")
            for image, found in alerts.items()
            if found
        ]
        return "\n".join([*lines, f"{alerts.total()} alerts, all shares: {self.path}"])
