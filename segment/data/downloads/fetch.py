"""Download archives. Interrupted downloads continue, checksums are verified, a folder appears only when complete."""

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

from segment.data.downloads.unpack import BLOCK_BYTES, require_space, unpack
from segment.errors import SegmentError

SERVER_TIMEOUT = 30
"""Number of seconds to wait for a server's response."""
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
CHECKSUM = re.compile("md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}", re.IGNORECASE)


class Archive(NamedTuple):
    """The address of an archive, and the checksum of the file: "md5:...", "sha1:...", "sha256:..." or None.

    Example:
        >>> Archive("https://example.org/set.zip?version=2", None).name
        'set.zip'
    """

    url: str
    checksum: str | None

    @property
    def name(self) -> str:
        """The file's name, without the address's query."""
        return PurePosixPath(_without_query(self.url)).name


def _without_query(url: str) -> str:
    return re.split("[?#]", url)[0]


@dataclass(frozen=True)
class Release:
    """Archives that together hold one folder of a data set.

    Args:
        archives: archives to unpack into one place.
        inside: path of the folder in the archives.
        target: path of the folder below the data set's root; "." is the root itself.

    Example:
        >>> archive = Archive("https://example.org/set-1.0.zip", "md5:9e107d9d372bb6826bd81d3542a419d6")
        >>> Release((archive,), inside="set-1.0/images", target="images").target
        'images'
    """

    archives: tuple[Archive, ...]
    inside: str
    target: str


def download_missing(
    missing: Callable[[], Sequence[Release]], root: Path, url: str | None = None, checksum: str | None = None
) -> None:
    """Download and unpack the releases that are missing below ``root``. Archives that already lie there are used.

    Args:
        missing: function that returns the missing releases. It is called again when the lock is taken, since another
            process may have downloaded them.
        url: a mirror: either a folder that has the archives under their names, or the address of the only archive.
        checksum: checksum of the mirror's archive, if that differs from the official one.

    Raises:
        SegmentError: offline, server error, disk full, wrong checksum, unsafe archive. No folder of the data
            set exists then. A partial download is kept and continued next time.
    """
    if not missing():
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):
            releases = missing()
            count = sum(len(release.archives) for release in releases)
            for release in releases:
                files = [fetch_archive(_mirrored(one, url, checksum, count), root) for one in release.archives]
                unpack(files, release.inside, root / release.target)
                print(f"{root / release.target} is complete; {', '.join(map(str, files))} can be deleted")
    except OSError as error:
        raise SegmentError(f"cannot write to data.root={root}: {error.strerror or error}") from None


def _mirrored(archive: Archive, url: str | None, checksum: str | None, count: int) -> Archive:
    if checksum is not None and count > 1:
        raise SegmentError(
            f"data.checksum={checksum}: expected a data set of one archive, this one has {count} archives: leave it out"
        )
    if url is None:
        return archive._replace(checksum=checksum or archive.checksum)
    if _without_query(url).lower().endswith(ARCHIVE_SUFFIXES):
        if count > 1:
            raise SegmentError(f"data.url={url}: this data set has {count} archives; give the folder that has them all")
        return Archive(url, checksum or archive.checksum)
    return Archive(f"{url.rstrip('/')}/{archive.name}", checksum or archive.checksum)


def fetch_archive(archive: Archive, folder: Path) -> Path:
    """Return the archive's verified file in ``folder``. If it is missing, download it or continue its download.

    Raises:
        SegmentError: see :func:`download_missing`.
    """
    if archive.checksum is not None and not CHECKSUM.fullmatch(archive.checksum):
        raise SegmentError(f"data.checksum={archive.checksum}: expected md5:..., sha1:... or sha256:... in full")
    path = folder / archive.name
    if not path.is_file():
        part = folder / f"{archive.name}.part"
        _fetch(archive.url, part)
        _verify(part, archive)
        os.replace(part, path)
    else:
        _verify(path, archive)
    return path


def _fetch(url: str, part: Path) -> None:
    """Download ``url`` into ``part``; reconnect after a broken connection as long as each one brings further bytes."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns) as progress:
        task = progress.add_task(part.stem, total=None)
        while True:
            before = _size(part)
            response, start = _connect(url, before)
            with response:
                if response.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # the file is complete
                total = None if response.length is None else start + response.length
                require_space(part.parent, response.length or 0)
                progress.update(task, total=total, completed=start)
                ended = _append(response, part, "ab" if start else "wb", lambda n: progress.advance(task, n))
            if ended and total in {None, _size(part)}:
                return
            if _size(part) <= before:
                raise SegmentError(f"the connection to {url} breaks at byte {before}: run the same command again later")


def _append(response: http.client.HTTPResponse, part: Path, mode: str, advance: Callable[[int], None]) -> bool:
    """Write a response's body as it comes; return False if the connection broke."""
    with part.open(mode) as file:
        while True:
            try:
                block = response.read1(BLOCK_BYTES)  # read would drop the bytes that came before a break
            except (http.client.HTTPException, ConnectionError, TimeoutError):
                return False
            if not block:
                return True
            file.write(block)
            advance(len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _connect(url: str, start: int) -> tuple[http.client.HTTPResponse, int]:
    """Return a response and the byte that it begins with, which is 0 if the server cannot begin at ``start``.

    A response with status 416 means that the file is already complete.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise SegmentError(f"data.url={url}: expected http:// or https://")
    try:
        quoted = urllib.parse.quote(url, safe=string.punctuation)
        request = urllib.request.Request(quoted, headers={"Range": f"bytes={start}-"} if start else {})
        response = urllib.request.urlopen(request, timeout=SERVER_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            # "bytes */TOTAL": the part is complete if it has TOTAL bytes; otherwise it is a part of another file.
            return (error, start) if error.headers.get("Content-Range") == f"bytes */{start}" else _connect(url, 0)  # type: ignore[return-value]  # an HTTPError is a response, too
        raise SegmentError(
            f"the server responds {error.code} ({_line(error.reason)}) for {url}: try again later, or data.url=MIRROR"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SegmentError(
            f"cannot reach {url} ({_line(getattr(error, 'reason', error))}): is this machine offline? Put the archive "
            "into data.root yourself, or name a mirror with data.url="
        ) from None
    if not start or response.status != http.client.PARTIAL_CONTENT:
        return response, 0
    if response.headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-"):
        return response, start
    response.close()
    return _connect(url, 0)  # the server sent another range than the requested one


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
            path.unlink()  # it cannot be continued
            raise SegmentError(
                f"{archive.url} is not the expected file: its {kind} is {found} instead of {expected}; the download "
                f"was discarded. Try again, or accept this file with data.checksum={kind}:{found}"
            )
        raise SegmentError(f"{path} is damaged or another file: its {kind} is {found} instead of {expected}; remove it")
