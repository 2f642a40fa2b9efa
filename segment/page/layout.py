"""The page: its parts from top to bottom, and the events that connect them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segment.page.textures import TEXTURES
from segment.page.visits import OWN_PICTURE, Visits, gr
from segment.prediction.segmenter import Segmenter

HEADING = (
    "<h1>Segment a photo</h1><p>Choose a photo, and see which class each of its pixels belongs to. "
    "Photos stay on this computer, and are deleted when the program ends.</p>"
)
COLUMN = 280
"""Smallest width of a column, in pixels: a telephone shows one below the other."""
HEIGHT, TOOLBAR = 380, 40
"""Height of a picture, and of the bar below the photo, in pixels."""
ONE_AT_A_TIME = {"concurrency_id": "net", "concurrency_limit": 1, "api_visibility": "private", "preprocess": False}
"""Options of an event that computes: visitors wait for each other, and values come as they are sent."""
WAITING = 20
"""Largest number of events that wait."""


def build_page(nets: Mapping[str, Segmenter], examples: Sequence[Path], folder: Path) -> Any:
    """Build the page, a ``gradio.Blocks`` that is not served yet.

    Args:
        nets: the nets by the names that the page shows.
        examples: photos to try.
        folder: folder for the files that visitors download.
    """
    visits = Visits(nets, folder)
    with gr.Blocks(title="Segment a photo", fill_width=True, analytics_enabled=False) as page:
        photos = gr.State()
        gr.HTML(HEADING, elem_id="heading")
        with gr.Row():
            with gr.Column(min_width=COLUMN):
                photo, problem, chosen = _photo_parts(examples)
            shown = [part for name in nets for part in _net_parts(name if len(nets) > 1 else "Classes")]
        agreement = gr.HTML(visible=False, elem_id="agreement")
        with gr.Column(visible=False, elem_id="tools") as tools:
            gr.HTML("<h2>Do something with a class</h2>")
            with gr.Row():
                with gr.Column(min_width=COLUMN):
                    net, classes = _class_parts(nets)
                    failure = gr.HTML(visible=False)
                    effects = _effect_tabs()
                with gr.Column(min_width=COLUMN):
                    result = _result_parts()
        outputs = [photo, photos, problem, agreement, tools, classes, failure, *result, *shown]
        for event in (photo.input, *([chosen.then] if chosen else [])):
            event(visits.segment, [photo, net], outputs, show_progress_on=shown[::5], **ONE_AT_A_TIME)
        photo.clear(visits.forget, None, outputs, queue=False, api_visibility="private")
        net.input(visits.offer_classes, [photos, net], classes, queue=False, api_visibility="private")
        for button, name, controls in effects:
            given = [photos, net, classes, *controls]
            button.click(getattr(visits, name), given, [failure, *result], show_progress_on=result[0], **ONE_AT_A_TIME)
    return page.queue(api_open=False, max_size=WAITING)


def page_style() -> dict[str, Any]:
    """Return the options of ``launch`` for the looks: fonts are gradio's own files, since others would be fetched."""
    # Of weight 600, gradio 6 has a file without letters.
    fonts = [gr.themes.utils.fonts.LocalFont("Source Sans Pro", weights=(400, 700)), "sans-serif"]
    return {"theme": gr.themes.Default(font=fonts), "css_paths": [Path(__file__).with_name("style.css")]}


def _photo_parts(examples: Sequence[Path]) -> tuple[Any, Any, Any]:
    """Return the photo, the line about a problem with it, and the event of a chosen example, None without examples."""
    sources = ["upload", "webcam", "clipboard"]
    photo = gr.Image(
        label="Photo", sources=sources, type="filepath", height=HEIGHT + TOOLBAR, buttons=[], elem_id="photo"
    )
    problem = gr.HTML(visible=False, elem_id="problem")
    if not examples:
        return photo, problem, None
    shown = gr.Examples([[str(path)] for path in examples], photo, label="Or try one of these", elem_id="examples")
    return photo, problem, shown.load_input_event


def _net_parts(name: str) -> list[Any]:
    """Return the picture of a net, its legend, and the buttons to download mask, overlay and table."""
    with gr.Column(min_width=COLUMN):
        picture = gr.Image(label=name, interactive=False, height=HEIGHT, buttons=["fullscreen"], elem_classes="picture")
        legend = gr.HTML(visible=False)
        with gr.Row():
            labels = ("↓ Mask", "↓ Overlay", "↓ Table")
            files = [gr.DownloadButton(label, size="sm", min_width=90, visible=False) for label in labels]
    return [picture, legend, *files]


def _class_parts(nets: Mapping[str, Segmenter]) -> tuple[Any, Any]:
    """Return the choice of a net, which only several need, and that of classes."""
    net = gr.Radio([*nets], value=next(iter(nets)), label="Found by", visible=len(nets) > 1)
    return net, gr.Dropdown([], multiselect=True, label="Classes", elem_id="classes")


def _effect_tabs() -> list[tuple[Any, str, list[Any]]]:
    """Return for each effect its button, the method of :class:`Visits` that does it, and its controls."""
    found = []
    with gr.Tabs(elem_id="effects"):
        for title, name, make in (
            ("Recolour", "recolour", _recolour_controls),
            ("New surface", "retexture", _retexture_controls),
            ("Cut out", "cutout", lambda: [_soft_edge()]),
            ("Measure", "measure", _measure_controls),
        ):
            with gr.Tab(title):
                controls = make()
                found.append((gr.Button(title, variant="primary", elem_id=name), name, controls))
    return found


def _soft_edge() -> Any:
    return gr.Slider(0, 20, 2, step=1, label="Soft edge (pixels)")


def _recolour_controls() -> list[Any]:
    colour = gr.ColorPicker("#c2185b", label="Colour", elem_id="colour")
    return [colour, gr.Slider(0, 100, 80, step=5, label="Strength (%)"), _soft_edge()]


def _retexture_controls() -> list[Any]:
    surface = gr.Radio([*TEXTURES, OWN_PICTURE], value=next(iter(TEXTURES)), label="Surface", elem_id="surface")
    own = gr.Image(
        label="Picture of a surface", sources=["upload"], type="filepath", visible=False, height=160, buttons=[]
    )
    surface.input(lambda chosen: gr.Image(visible=chosen == OWN_PICTURE), surface, own, queue=False)
    return [surface, own, gr.Slider(0.1, 4, 1, step=0.1, label="Size"), _soft_edge()]


def _measure_controls() -> list[Any]:
    scale = gr.Number(1, label="Length of a pixel's side", minimum=0, elem_id="scale")
    return [scale, gr.Textbox("pixels", label="Unit of that length", max_length=20, elem_id="unit")]


def _result_parts() -> list[Any]:
    """Return the result as a picture, as a table, and as a file to download."""
    picture = gr.Image(
        label="Result", interactive=False, height=HEIGHT, format="png", buttons=["fullscreen"], elem_id="result",
        elem_classes="picture",
    )  # fmt: skip
    table = gr.HTML(visible=False, elem_id="regions")
    return [picture, table, gr.DownloadButton("↓ Result", size="sm", visible=False, elem_id="download-result")]
