"""The command ``segment.app``: its page in a browser, and mistakes on the command line."""

import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

import segment
from segment import app
from segment.data.datasets.shapes import draw
from segment.effects import cutout, measure, recolour
from segment.errors import SegmentError
from segment.models.state_dicts import METADATA
from tests.conftest import varied_checkpoint

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra app")
needs_browser = pytest.mark.skipif(
    find_spec("playwright") is None or which("chromium") is None, reason="needs playwright and Debian's chromium"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((app.HOST, 0))
        return probe.getsockname()[1]


def start(port: int, *overrides: str, **environment: str) -> subprocess.Popen:
    """Start the command, and return when its page is there."""
    command = [sys.executable, "-m", "segment.app", f"port={port}", *overrides]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = subprocess.Popen(command, env=os.environ | environment, **pipes)
    output = ""
    for line in server.stdout:
        output += line
        if line.startswith("The page is at"):
            return server
    raise AssertionError(output)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write the checkpoints of two nets that find several classes, one of which has a name that a page might run."""
    first = varied_checkpoint(tmp_path_factory.mktemp("net"))
    second = varied_checkpoint(tmp_path_factory.mktemp("net"))
    for content in (first, second):
        content[METADATA]["classes"]["names"][1] = "<img src=x onerror='document.title=1'>${1+1}{{1+1}}"
    for key, value in second["state_dict"].items():
        if ".score." in key:
            value.neg_()
    paths = [tmp_path_factory.mktemp("nets") / name for name in ("first, the best.ckpt", "second.ckpt")]
    for path, content in zip(paths, (first, second), strict=True):
        torch.save(content, path)
    return paths


@pytest.fixture(scope="module")
def server(nets) -> Iterator[str]:
    """Serve the page for both nets, and return its address. Its last words are those of Ctrl-C alone."""
    port = free_port()
    checkpoints = [f"checkpoint={path}" for path in nets]
    proxy = "http://127.0.0.1:9"  # nobody is there, and nobody should be asked
    process = start(port, *checkpoints, http_proxy=proxy, GRADIO_SHARE="true", GRADIO_SERVER_NAME="0.0.0.0")
    yield f"http://{app.HOST}:{port}/"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "interrupted\n"
    assert process.returncode == 130


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=which("chromium"), args=flags)


class Visitor:
    """Someone with a browser of their own, who watches what the page requests and logs."""

    def __init__(self, browser, address: str, width: int = 1280, **options) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.requests, self.errors = [], []
        tools = self.context.new_cdp_session(self.page)
        tools.send("Network.enable")
        tools.on("Network.requestWillBeSent", lambda event: self.requests.append(event["request"]["url"]))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.goto(address)
        self.page.wait_for_selector("#photo input[type=file]", state="attached")

    def upload(self, path: Path) -> None:
        self.page.locator("#photo input[type=file]").first.set_input_files(path)

    def choose(self, *names: str) -> None:
        """Choose classes, in place of those that are chosen."""
        self.page.locator("#classes button[aria-label='Clear']").or_(self.page.locator("#classes .remove-all")).click()
        for name in names:
            self.page.locator("#classes input").click()
            self.page.get_by_role("option", name=name, exact=True).click()
        self.page.keyboard.press("Escape")

    def do(self, effect: str, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()
        self.page.locator(f"button#{effect}").click()

    def download(self, label: str, number: int = 0) -> Path:
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=label).nth(number).click()
        return waiting.value.path()

    def result(self, ending: str) -> Path:
        """Download the result once it is the one with this ending."""
        for _ in range(20):
            with self.page.expect_download() as waiting:
                self.page.get_by_role("button", name="↓ Result").click()
            if waiting.value.suggested_filename.endswith(ending):
                return waiting.value.path()
            self.page.wait_for_timeout(500)
        raise AssertionError(waiting.value.suggested_filename)

    def leave(self, address: str) -> None:
        """Close the browser. The page has requested nothing from elsewhere, and has logged no error."""
        self.context.close()
        foreign = [url for url in self.requests if not url.startswith((address, "data:", "blob:"))]
        assert len(self.requests) > 20
        assert (foreign, self.errors) == ([], [])


@pytest.fixture
def visitor(browser, server) -> Iterator[Visitor]:
    one = Visitor(browser, server)
    yield one
    one.leave(server)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "grün (1).png"
    Image.fromarray(draw(np.random.default_rng(3))[0]).save(path)
    return path


def shown_rows(visitor: Visitor, number: int) -> list[list[str]]:
    """Return the cells of a net's legend, once it is there."""
    table = visitor.page.locator("table.legend").nth(number)
    table.wait_for()
    rows = [row.inner_text().split("\t") for row in table.locator("tbody tr").all()]
    return [[cell.strip() for cell in row if cell.strip()] for row in rows]


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_classes_of_two_nets_and_their_downloads(visitor, nets, photo):
    visitor.upload(photo)
    for number, path in enumerate(nets):
        found = segment.load(path).predict(photo)
        shares = {name: count / found.mask.size for name, count in found.counts().items() if count}
        rows = shown_rows(visitor, number)
        assert {row[0] for row in rows} == {*shares}
        for name, share, confidence in rows:
            assert share == ("< 0.1 %" if shares[name] < 0.001 else f"{100 * shares[name]:.1f} %")
            assert 100 / 6 <= float(confidence.removesuffix(" %")) <= 100
        mask = Image.open(visitor.download("↓ Mask", number))
        assert (np.asarray(mask) == found.mask).all()
        assert mask.getpalette()[:18] == found.palette_image().getpalette()[:18]
        overlay = Image.open(visitor.download("↓ Overlay", number))
        assert overlay.tobytes() == found.overlay(legend=True).tobytes()
        table = list(csv.DictReader(StringIO(visitor.download("↓ Table", number).read_text())))
        assert {row["class"]: int(row["pixels"]) for row in table} == {k: n for k, n in found.counts().items() if n}
    first, second = (segment.load(path).predict(photo).mask for path in nets)
    assert f"{100 * (first == second).mean():.1f} %" in visitor.page.locator("#agreement").inner_text()
    assert visitor.page.title() == "Segment a photo"  # the name of a class is no program


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_a_class_is_recoloured_cut_out_and_measured(visitor, nets, photo):
    visitor.upload(photo)
    name = shown_rows(visitor, 0)[1][0]
    found = segment.load(nets[0]).predict(photo)
    chosen = [found.classes.names.index(name)]
    visitor.choose(name)
    visitor.do("recolour", "Recolour")
    expected = recolour(found.image, found.mask, chosen, "#c2185b", opacity=0.8, feather=2)
    assert (np.asarray(Image.open(visitor.result("_recoloured.png"))) == expected).all()
    visitor.do("retexture", "New surface")
    changed = (np.asarray(Image.open(visitor.result("_new_surface.png"))) != found.image).any(-1)
    assert changed[found.mask == chosen[0]].mean() > 0.9 > changed.mean()
    visitor.do("cutout", "Cut out")
    expected = cutout(found.image, found.mask, chosen, feather=2)
    assert (np.asarray(Image.open(visitor.result("_cut_out.png"))) == expected).all()
    visitor.do("measure", "Measure")
    rows = list(csv.DictReader(StringIO(visitor.result("_regions.csv").read_text())))
    assert visitor.page.locator("table.regions").is_visible()
    assert [float(row["area"]) for row in rows] == [one.area for one in measure(found.image, found.mask, chosen)]


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_mistakes_are_sentences(visitor, photo, tmp_path):
    text, renamed, huge = tmp_path / "notes.txt", tmp_path / "notes.png", tmp_path / "huge.png"
    for path in (text, renamed):
        path.write_text("not a photo")
    Image.new("1", (20_000, 20_000)).save(huge)
    visitor.upload(text)
    visitor.page.get_by_text("notes.txt").wait_for()
    problem = visitor.page.locator("#problem")
    for path, sentence in (
        (
            renamed,
            "The file notes.png cannot be read, it is no image, or of an unknown kind: "
            "choose a JPEG, PNG or WebP photo.",
        ),
        (
            huge,
            "The file huge.png has 400 million pixels, and this page takes up to 25 million: make it smaller first.",
        ),
    ):
        visitor.upload(path)
        problem.get_by_text(path.stem, exact=False).wait_for()
        assert problem.inner_text().strip() == sentence
        assert not visitor.page.get_by_text("Traceback").count()
    visitor.upload(photo)
    assert shown_rows(visitor, 0)
    assert not problem.is_visible()
    visitor.choose()
    visitor.do("recolour", "Recolour")
    visitor.page.get_by_text("Choose one class or more first.").wait_for()


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_two_visitors_at_once(browser, server, nets, tmp_path):
    visitors = [Visitor(browser, server) for _ in range(2)]
    photos = [tmp_path / str(i) / "photo.png" for i in range(2)]
    for i, path in enumerate(photos):
        path.parent.mkdir()
        Image.fromarray(draw(np.random.default_rng(i), 150 + 50 * i, 160 + 50 * i)[0]).save(path)
    for visitor, path in zip(visitors, photos, strict=True):
        visitor.upload(path)
    for visitor in visitors:
        shown_rows(visitor, 1)
    for visitor in visitors:
        visitor.do("cutout", "Cut out")
    for visitor, path in zip(visitors, photos, strict=True):
        found = segment.load(nets[0]).predict(path)
        assert (np.asarray(Image.open(visitor.download("↓ Mask"))) == found.mask).all()
        assert (np.asarray(Image.open(visitor.result("photo_cut_out.png")))[..., :3] == found.image).all()
        visitor.leave(server)


@needs_gradio
@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_example_on_screens_of_two_widths(browser, server, tmp_path, width, scheme):
    visitor = Visitor(browser, server, width, color_scheme=scheme)
    visitor.page.locator("#examples button").nth(1).click()
    shown_rows(visitor, 1)
    for name in ("Recolour", "New surface", "Cut out", "Measure"):
        assert visitor.page.get_by_role("tab", name=name).is_visible()
    visitor.do("recolour", "Recolour")
    visitor.page.locator("#result img").wait_for()
    visitor.page.screenshot(path=tmp_path / f"{width}_{scheme}.png", full_page=True)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == width
    visitor.do("measure", "Measure")
    heading = visitor.page.locator("table.regions th").first
    heading.wait_for()
    lines = "cell => { const text = document.createRange(); text.selectNodeContents(cell); "
    lines += "return text.getClientRects().length; }"
    assert heading.inner_text() == "region"
    assert heading.evaluate(lines) == 1
    visitor.leave(server)


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_a_camera(visitor):
    visitor.page.get_by_label("Capture from camera").click()
    visitor.page.get_by_text("Click to Access Webcam").click()
    visitor.page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    visitor.page.get_by_label("capture photo").click()
    assert shown_rows(visitor, 0)
    visitor.page.get_by_label("Remove Image").click()
    visitor.page.locator("table.legend").first.wait_for(state="hidden")
    visitor.errors.clear()  # gradio asks for the progress of an upload without a name, and logs the refusal


@needs_gradio
@pytest.mark.slow
def test_a_port_that_is_taken(run, checkpoint):
    with socket.socket() as other:
        other.bind((app.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        done = run("app", f"checkpoint={checkpoint}", f"port={port}", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: port={port}: Address already in use; give another one, such as port=7861\n"


def test_without_gradio(monkeypatch):
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    with pytest.raises(SegmentError, match=r"^segment.app needs gradio: pip install 'segment-lightning\[app\]'$"):
        app.app(DictConfig({}))


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_a_port_that_does_not_exist(port):
    with pytest.raises(SegmentError, match=f"port={port}: expected 1 to 65535"):
        app.check_port(port)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("runs/a (1)", ["runs/a (1)"]),
        ("[runs/a (1), ~/b]", ["runs/a (1)", "~/b"]),
        ("['a, b','it''s',c]", ["a, b", "it's", "c"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_one_checkpoint_or_several(given, expected):
    assert app.split_checkpoints(given) == expected


def test_a_file_may_look_like_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("[a,b]").touch()
    assert app.split_checkpoints("[a,b]") == ["[a,b]"]


def test_a_checkpoint_that_is_given_twice(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app", "checkpoint=a, it's", "port=1", "checkpoint=[b,c]"])
    app.join_checkpoints()
    assert sys.argv[:2] == ["app", "port=1"]
    assert app.split_checkpoints(sys.argv[2].partition("=")[2]) == ["a, it's", "b", "c"]


def test_the_names_of_nets():
    paths = [
        "runs/a/checkpoints/best.ckpt",
        "runs/b/checkpoints/last.ckpt",
        "x/best.ckpt",
        "y/best.ckpt",
        "hub/config.json",
    ]
    names = ["a", "b (last)", "x/best.ckpt", "y/best.ckpt", "hub"]
    assert app.net_labels(map(Path, paths)) == names


def test_gradio_reads_nothing_that_the_user_set_for_other_pages(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {"GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": "/", "no_proxy": "here"})
    app.isolate_gradio(tmp_path)
    assert os.environ == {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(tmp_path),
        "no_proxy": "here,127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
