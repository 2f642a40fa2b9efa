"""The Hugging Face Hub, from which libraries download weights: no waiting where it cannot be reached."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch
from urllib.parse import urlsplit
from urllib.request import getproxies


@contextmanager
def cached_if_unreachable() -> Iterator[None]:
    """Let downloads come from the hub's cache alone where its server has no address; each would wait for a minute."""
    from huggingface_hub import constants

    with patch.object(constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE or not _is_known(constants.ENDPOINT)):
        yield


def _is_known(url: str) -> bool:
    """Return whether a server's name has an address; True behind a proxy, which alone knows."""
    try:
        return bool(getproxies().keys() - {"no"} or socket.getaddrinfo(urlsplit(url).hostname, None))
    except OSError:
        return False
