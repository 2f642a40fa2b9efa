"""The files that a command writes for a video: one video, and a mask for each frame."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from segment.prediction.output_files import EXTRAS, JOURNALS, OVERLAY, OutputFiles, written_names
from segment.prediction.video import import_av, open_video

OVERLAY_VIDEO = "_overlay.mp4"
"""Suffix of the video that shows the classes' colours over the frames."""


class VideoFiles(OutputFiles):
    """The files of one video: the video ``STEM.mp4``, or with another suffix, and the frames' ``STEM/000001.png``, ...

    Args:
        stem: path of all of them, without suffix.
        extras: suffixes of the extras beside each mask.
        command: the command that writes them; only segment.predict writes masks.
        suffix: suffix of the video; None for no video.
    """

    def __init__(self, stem: Path, extras: list[str], command: str, suffix: str | None) -> None:
        super().__init__(stem, [], command)
        self.suffixes = [suffix] if suffix else []
        self.extras, self.has_masks = [one for one in extras if one != OVERLAY], command == "predict"

    def frame(self, number: int) -> OutputFiles:
        """Return the files of a frame, counted from 1."""
        return OutputFiles(self.stem / f"{number:06d}", self.extras, self.command)

    def numbers(self) -> list[int]:
        """Return the numbers of the frames that have files."""
        names = [path.name for path in self.stem.iterdir()] if self.stem.is_dir() else []
        return sorted({int(found[1]) for name in names if (found := re.fullmatch(r"(\d{6,})\.(png|json|npz)", name))})

    def targets(self) -> list[Path]:
        """Return the paths of the video and of the existing frames' files, and of the frame after them."""
        numbers = self.numbers() if self.has_masks else []
        frames = [self.frame(number) for number in (*numbers, (numbers or [0])[-1] + 1)]
        return super().targets() + [path for files in frames for path in files.targets()]

    def foreign(self, own: frozenset[str], suffixes: Sequence[str] = ()) -> list[Path]:
        """Return existing files under these names, those of frames included, that the command did not write."""
        found = super().foreign(own, suffixes) if self.suffixes else []
        if self.has_masks:
            own_frames = written_names(self.stem / JOURNALS[self.command])
            found += [path for number in self.numbers() for path in self.frame(number).foreign(own_frames)]
        return found

    def are_complete(self, origin: str) -> bool:
        """Return whether the video and all its masks exist and are of this origin. Without a video it is not known."""
        if not self.suffixes or not self.path(self.suffixes[0]).is_file():
            return False
        comment, count = self._recorded_video()
        return comment == origin_comment(origin) and all(
            self.frame(number).are_complete(frame_origin(origin, number))
            for number in range(1, count * self.has_masks + 1)
        )

    def _recorded_video(self) -> tuple[str, int]:
        """Return the comment in the existing video, and its number of frames, which a WebM does not store."""
        path = self.path(self.suffixes[0])
        av = import_av(path)
        try:
            with open_video(path) as video:
                comments = {key.lower(): value for key, value in video.metadata.items()}
                return comments.get("comment", ""), video.streams.video[0].frames
        except (av.error.FFmpegError, IndexError):
            return "", 0

    def remove_frames_after(self, count: int) -> None:
        """Remove the command's files of frames that the video does not have: they are of a longer one."""
        own = written_names(self.stem / JOURNALS[self.command])
        for number in self.numbers():
            paths = [self.frame(number).path(suffix) for suffix in (".png", *EXTRAS)]
            for path in paths if number > count else []:
                if json.dumps(path.name) in own:
                    path.unlink(missing_ok=True)


def frame_origin(origin: str, number: int) -> str:
    """Return the origin of a frame's mask."""
    return f"{origin} frame {number}"


def origin_comment(origin: str) -> str:
    """Return the comment that a video has in place of its origin, which may name paths of this machine."""
    return f"segment {hashlib.sha256(origin.encode(errors='surrogateescape')).hexdigest()[:16]}"
