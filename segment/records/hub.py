"""The Hugging Face Hub: download of ``hf://USER/NAME@REVISION``, and upload of a folder that is to be shared.

Imports huggingface_hub only when it is used, and no torch.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segment import __version__
from segment.errors import SegmentError
from segment.files import first_names

WEIGHTS, CONFIG, CARD, PICTURE = "model.safetensors", "config.json", "README.md", "example.png"
"""Names of the files of a shared folder."""
MAX_FILE_BYTES = {CONFIG: 2**25, WEIGHTS: 2**34, CARD: 2**20}
"""The files that are downloaded, and the size of the largest one that is: a config.json has up to a million values."""
SCHEME = "hf://"
REPOSITORY = r"[\w-][\w.-]*/[\w-][\w.-]*"
ADDRESS = rf"{SCHEME}({REPOSITORY})(?:@([\w.-][\w./-]*))?"


def require_hub() -> None:
    """Check that the packages of the extra ``hub`` are installed.

    Raises:
        SegmentError: one is missing.
    """
    if not all(map(find_spec, ("huggingface_hub", "safetensors"))):
        raise SegmentError(
            "shared folders and hf:// addresses need huggingface_hub and safetensors: "
            "pip install 'segment-lightning[hub]'"
        )


def check_new_folder(folder: Path) -> None:
    """Check that a folder can be written without replacing a file.

    Raises:
        SegmentError: it has one of the files already, or is no folder.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise SegmentError(f"output={folder}: expected a folder, and it is a file")
    if found := [name for name in (WEIGHTS, CONFIG, CARD, PICTURE) if os.path.lexists(folder / name)]:
        raise SegmentError(f"output={folder} has {', '.join(found)} already: name another folder, or delete them")


def download(address: str) -> Path:
    """Download a shared folder into the hub's cache, and print its commit unless the address names that.

    All files are of the same commit. A folder that was downloaded before is used when the hub cannot be reached.

    Args:
        address: ``hf://USER/NAME@REVISION``; without ``@REVISION`` the latest commit of ``main``.

    Returns:
        The folder.

    Raises:
        SegmentError: the address is malformed, there is no such repository, revision or file, a file is too large, the
            hub cannot be reached, or a package is missing.
    """
    found = re.fullmatch(ADDRESS, address)
    if found is None or ".." in address:
        raise SegmentError(f"{address}: expected hf://USER/NAME or hf://USER/NAME@REVISION")
    require_hub()
    from huggingface_hub.errors import EntryNotFoundError

    repository, revision = found[1], found[2] or "main"
    with _hub_errors(address):
        folder = _download_file(repository, CONFIG, revision).parent
        _download_file(repository, WEIGHTS, folder.name)
        with suppress(EntryNotFoundError):  # the card, which nothing is read from
            _download_file(repository, CARD, folder.name)
    if revision != folder.name:
        print(f"{address} is {hub_address(folder / CONFIG)}")
    return folder


def _download_file(repository: str, name: str, revision: str) -> Path:
    """Return the path of a file in the hub's cache, which is ``.../snapshots/COMMIT/NAME``."""
    from huggingface_hub import hf_hub_download

    size = hf_hub_download(repository, name, revision=revision, dry_run=True).file_size or 0
    if size > MAX_FILE_BYTES[name]:
        raise SegmentError(f"refused, its {name} has {size:,} bytes, expected up to {MAX_FILE_BYTES[name]:,}")
    return Path(hf_hub_download(repository, name, revision=revision))


def hub_address(path: Path) -> str | None:
    """Return the address, with the commit, of a file in the hub's cache; None for any other file.

    Example:
        >>> hub_address(Path("hub/models--ada--cells/snapshots/0123abc/config.json"))
        'hf://ada/cells@0123abc'
    """
    found = re.fullmatch(r"models--(.+)--(.+)/snapshots/([0-9a-f]+)", "/".join(path.parts[-4:-1]))
    return found and f"{SCHEME}{found[1]}/{found[2]}@{found[3]}"


def check_push(repository: str) -> None:
    """Check what an upload needs, before the work begins.

    Raises:
        SegmentError: the name is malformed, a package is missing, or there is no token.
    """
    if not re.fullmatch(REPOSITORY, repository) or ".." in repository:
        raise SegmentError(f"push={repository}: expected USER/NAME, the name of a repository on the hub")
    require_hub()
    from huggingface_hub import get_token

    if get_token() is None:
        raise SegmentError(f"push={repository} needs a token of the hub: run `hf auth login`, or set HF_TOKEN")


def push(folder: Path, repository: str) -> str:
    """Upload the files of a shared folder in one commit. A repository that does not exist is created, private.

    Returns:
        The address of the commit.

    Raises:
        SegmentError: the hub cannot be reached, or refuses the files.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, files = HfApi(), [path for name in (WEIGHTS, CONFIG, CARD, PICTURE) if (path := folder / name).is_file()]
    with _hub_errors(f"push={repository}"):
        try:
            _note_repository(api.model_info(repository), [path.name for path in files])
        except HfHubHTTPError:  # most often there is none; any other reason will be the next request's, too
            url = api.create_repo(repository, private=True)
            print(f"{url} is new and private; its settings make it public")
        operations = [CommitOperationAdd(path.name, path) for path in files]
        commit = api.create_commit(repository, operations, commit_message=f"segment.export {__version__}")
    return f"{SCHEME}{repository}@{commit.oid}"


def _note_repository(info: Any, names: list[str]) -> None:
    """Print who sees a repository that exists, and which of its files are replaced."""
    replaced = sorted({*names} & {file.rfilename for file in info.siblings or ()})
    kept = f"; its earlier commits keep the {first_names(replaced, len(names))} that are replaced" if replaced else ""
    print(f"note: {info.id} exists and is {'private' if info.private else 'public'}{kept}")


@contextmanager
def _hub_errors(source: str) -> Iterator[None]:
    """Turn whatever huggingface_hub raises into one line that begins with ``source``."""
    from huggingface_hub import errors

    reasons: dict[type[Exception], str] = {
        errors.GatedRepoError: "its owner asks for a login and a consent: open its page, then run `hf auth login`",
        errors.RepositoryNotFoundError: "not found, or private: check the name, and `hf auth login` or HF_TOKEN",
        errors.RevisionNotFoundError: "it has no such revision",
        errors.EntryNotFoundError: "it lacks model.safetensors or config.json, which segment.export format=hub writes",
    }
    try:
        yield
    except SegmentError as error:
        raise SegmentError(f"{source}: {error}") from None
    except Exception as error:  # of the hub, of its files, of the network
        if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # why the hub did not give what was not downloaded before
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        reason = next((reason for kind, reason in reasons.items() if isinstance(error, kind)), text)
        raise SegmentError(f"{source}: {reason}") from error
