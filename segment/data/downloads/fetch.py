"""Downloads: resumed, verified, and in place only when whole."""

import hashlib
import http.client
import os
import re
import string
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from segment.data.downloads.unpack import CHUNK, expect_room, unpack
from segment.errors import SegmentError

TIMEOUT = 30
"""Seconds without an answer from a server."""
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
CHECKSUM = re.compile("md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}", re.IGNORECASE)


class Archive(NamedTuple):
    """Where an archive is, and "md5:...", "sha1:..." or "sha256:..." of the file (None if that is not fixed)."""

    url: str
    checksum: str | None

    @property
    def name(self) -> str:
        return PurePosixPath(_without_query(self.url)).name


def _without_query(url: str) -> str:
    return re.split("[?#]", url)[0]


@dataclass(frozen=True)
class Release:
    """Archives that together hold one folder of a data set.

    Args:
        archives: unpacked into one place.
        inside: path of the folder in the archives.
        target: where it belongs, below the data set's root; "." is the root itself.
    """

    archives: tuple[Archive, ...]
    inside: str
    target: str


def provide(
    missing: Callable[[], Sequence[Release]], root: Path, url: str | None = None, checksum: str | None = None
) -> None:
    """Download and unpack what is missing below ``root``; archives that lie there already are used.

    Args:
        missing: what is not there yet. It is asked again after waiting for its turn: of processes that start
            together the first one downloads.
        url: a mirror: a folder that has the archives under their names, or the one archive itself.
        checksum: of the mirror's archive, if it is another file than the official one.

    Raises:
        SegmentError: offline, server error, disk full, wrong checksum, unsafe archive. No folder of the data
            set is there then; a part of a download is kept and continued next time.
    """
    if not missing():
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):
            releases = missing()
            count = sum(len(release.archives) for release in releases)
            for release in releases:
                files = [fetch(_mirrored(archive, url, checksum, count), root) for archive in release.archives]
                unpack(files, release.inside, root / release.target)
                print(f"{root / release.target} is complete; {', '.join(map(str, files))} can be deleted")
    except OSError as error:
        raise SegmentError(f"cannot write to data.root={root}: {error.strerror or error}") from None


def _mirrored(archive: Archive, url: str | None, checksum: str | None, count: int) -> Archive:
    if checksum is not None and count > 1:
        raise SegmentError(f"data.checksum={checksum}: this data set has {count} archives; of which one? Leave it out")
    if url is None:
        return archive._replace(checksum=checksum or archive.checksum)
    if _without_query(url).lower().endswith(SUFFIXES):
        if count > 1:
            raise SegmentError(f"data.url={url}: this data set has {count} archives; give the folder that has them all")
        return Archive(url, checksum or archive.checksum)
    return Archive(f"{url.rstrip('/')}/{archive.name}", checksum or archive.checksum)


def fetch(archive: Archive, folder: Path) -> Path:
    """The archive's verified file in ``folder``, downloaded or continued if it is not there.

    Raises:
        SegmentError: see :func:`provide`.
    """
    if archive.checksum is not None and not CHECKSUM.fullmatch(archive.checksum):
        raise SegmentError(f"data.checksum={archive.checksum}: expected md5:..., sha1:... or sha256:... in full")
    path = folder / archive.name
    if not path.is_file():
        part = folder / f"{archive.name}.part"
        _download(archive.url, part)
        _verify(part, archive)
        os.replace(part, path)
    else:
        _verify(path, archive)
    return path


def _download(url: str, part: Path) -> None:
    """Load ``url`` into ``part``; a connection that breaks is taken up again as long as it brings something."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns) as progress:
        task = progress.add_task(part.stem, total=None)
        while True:
            before = _size(part)
            answer, start = _open(url, before)
            with answer:
                if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # nothing is left to load
                total = None if answer.length is None else start + answer.length
                expect_room(part.parent, answer.length or 0)
                progress.update(task, total=total, completed=start)
                whole = _append(answer, part, "ab" if start else "wb", lambda n: progress.advance(task, n))
            if whole and total in {None, _size(part)}:
                return
            if _size(part) <= before:
                raise SegmentError(f"the connection to {url} breaks at byte {before}: run the same command again later")


def _append(answer: http.client.HTTPResponse, part: Path, mode: str, advance: Callable[[int], None]) -> bool:
    """Write what comes until it ends; whether it ended without a broken connection."""
    with part.open(mode) as file:
        while True:
            try:
                chunk = answer.read1(CHUNK)  # read would drop what came before a break
            except (http.client.HTTPException, ConnectionError, TimeoutError):
                return False
            if not chunk:
                return True
            file.write(chunk)
            advance(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _open(url: str, start: int) -> tuple[http.client.HTTPResponse, int]:
    """An answer, and the byte that it begins with: ``start``, or 0 if the server can't; 416 if nothing is left."""
    if not url.lower().startswith(("http://", "https://")):
        raise SegmentError(f"data.url={url}: expected http:// or https://")
    try:
        quoted = urllib.parse.quote(url, safe=string.punctuation)
        request = urllib.request.Request(quoted, headers={"Range": f"bytes={start}-"} if start else {})
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            # "bytes */TOTAL": all is here, or another file is.
            return (error, start) if error.headers.get("Content-Range") == f"bytes */{start}" else _open(url, 0)  # type: ignore[return-value]  # it is an answer, too
        raise SegmentError(
            f"the server answers {error.code} ({_line(error.reason)}) for {url}: try again later, or data.url=MIRROR"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SegmentError(
            f"cannot reach {url} ({_line(getattr(error, 'reason', error))}): is this machine offline? Put the archive "
            "into data.root yourself, or name a mirror with data.url="
        ) from None
    if not start or answer.status != http.client.PARTIAL_CONTENT:
        return answer, 0
    if answer.headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-"):
        return answer, start
    answer.close()
    return _open(url, 0)  # another range than that asked for


def _line(reason: object) -> str:
    return " ".join(str(reason).split())


def _verify(path: Path, archive: Archive) -> None:
    if archive.checksum is None:
        return
    kind, _, expected = archive.checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind.lower()).hexdigest()
    if found != expected.lower():
        if path.suffix == ".part":
            path.unlink()  # nothing of it can be continued
            raise SegmentError(
                f"{archive.url} is not the file expected: its {kind} is {found} instead of {expected}; the download "
                f"was discarded. Try again, or accept this file with data.checksum={kind}:{found}"
            )
        raise SegmentError(f"{path} is damaged or another file: its {kind} is {found} instead of {expected}; remove it")
