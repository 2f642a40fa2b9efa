"""Try a net on photos, in a page of the web browser: ``python -m segment.app checkpoint=RUN``.

``checkpoint=[A,B]`` shows what several nets find, side by side.
"""

import csv
import io
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from segment.cli.build import instantiate
from segment.cli.config import plain
from segment.cli.entry_point import entry_point
from segment.cli.overrides import override_key
from segment.cli.value_types import check_value
from segment.errors import SegmentError
from segment.files import printable
from segment.records.folder import RunFolder, checkpoint_path
from segment.records.hub import CONFIG

HOST = "127.0.0.1"
"""Address of the page: this computer alone."""
SESSIONS = 20
"""Number of visits whose photos are in memory; the oldest one is forgotten."""


def app(config: DictConfig) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        SegmentError: gradio is missing, the port is taken, or a setting is wrong.
    """
    if find_spec("gradio") is None:
        raise SegmentError("segment.app needs gradio: pip install 'segment-lightning[app]'")
    given = check_value("checkpoint", plain(config.checkpoint), str | list[str])
    paths = [checkpoint_path(one) for one in split_checkpoints(given)]  # before torch, which takes seconds, is imported
    check_port(check_value("port", config.port, int))
    for number in (signal.SIGTERM, signal.SIGHUP):  # the photos are deleted then, too
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with tempfile.TemporaryDirectory(prefix="segment_app_") as name:
        folder = Path(name)
        isolate_gradio(folder)
        from segment.page.layout import build_page
        from segment.prediction.segmenter import load_segmenter

        inference = instantiate(config.inference)
        nets = {
            label: load_segmenter(path, config.device, inference, config.trust)
            for label, path in zip(net_labels(paths), paths, strict=True)
        }
        serve(build_page(nets, examples_of(paths[0], config.trust, folder), folder), config.port)


def check_port(port: int) -> None:
    """Check that the page can be served at a port.

    Raises:
        SegmentError: there is no such port, it is taken, or it needs rights that the user does not have.
    """
    if port not in range(1, 2**16):
        raise SegmentError(f"port={port}: expected 1 to 65535, such as port=7860")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed page frees it at once
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SegmentError(f"port={port}: {error.strerror}; give another one, such as port=7861") from None


def split_checkpoints(given: str | Sequence[str]) -> list[str]:
    """Return the checkpoints of ``FILE`` or ``[FILE,FILE]``; a name with a comma stands in single quotes."""
    if not isinstance(given, str):
        return [*given]
    if not re.fullmatch(r"\[.+\]", given) or Path(given).exists():
        return [given]
    return next(csv.reader([given[1:-1]], quotechar="'", skipinitialspace=True))


def join_checkpoints() -> None:
    """Replace several ``checkpoint=`` on the command line, of which Hydra takes the last, by one list."""
    given = [argument for argument in sys.argv[1:] if override_key(argument) == "checkpoint"]
    if len(given) > 1:
        text = io.StringIO()
        paths = [path for argument in given for path in split_checkpoints(argument.partition("=")[2])]
        csv.writer(text, quotechar="'", lineterminator="").writerow(paths)
        sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in given]
        sys.argv.append(f"checkpoint=[{text.getvalue()}]")


def net_labels(paths: Iterable[Path]) -> list[str]:
    """Return a name for each checkpoint: that of its run or file, or the path where names are equal."""
    names = {}
    for path in paths:
        is_of_run, is_shared = path.parent.name == "checkpoints", path.name == CONFIG
        run = RunFolder.of_checkpoint(path.resolve()).path.name
        last = f" ({path.stem})" * (path.stem != "best")
        names[path] = run + last if is_of_run else path.resolve().parent.name if is_shared else path.stem
    labels = [*names.values()]
    return [printable(str(path) if labels.count(name) > 1 else name) for path, name in names.items()]


def isolate_gradio(folder: Path) -> None:
    """Set what gradio reads from the environment: no telemetry, no look for updates, files in a folder of ours.

    Variables that the user has set for other pages could share this one, or serve further files.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder)}
    for name in ("no_proxy", "NO_PROXY"):  # gradio asks its own server whether it is there
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))


def examples_of(checkpoint: Path, trust: Any, folder: Path) -> list[Path]:
    """Return photos of the validation split of the checkpoint's data; without them, none and a note."""
    from segment.page.examples import find_examples
    from segment.records.checkpoint import data_config, load_checkpoint
    from segment.records.trust import read_trust

    try:
        return find_examples(data_config(load_checkpoint(checkpoint), read_trust(trust)), folder)
    except Exception as error:  # of a data set that was moved or damaged; the page works without
        print(f"note: no examples, {printable(str(error))}")
        return []


def serve(page: Any, port: int) -> None:
    """Serve a page of gradio until Ctrl-C, to this computer alone and with nothing from elsewhere."""
    from segment.page.layout import page_style
    from segment.page.photos import LARGEST_FILE

    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        run_history=False,
        state_session_capacity=SESSIONS,
        mcp_server=False,
        max_file_size=LARGEST_FILE,
        **page_style(),
    )
    print(f"The page is at http://{HOST}:{port} until Ctrl-C", flush=True)
    try:
        while True:
            time.sleep(1)
    finally:
        page.close(verbose=False)


if __name__ == "__main__":
    entry_point("app", app, join_checkpoints)
