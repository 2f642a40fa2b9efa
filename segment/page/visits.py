"""Answers to a visitor's actions: what the parts of the page show next.

Each session has its own photos, which gradio keeps and hands in. Values come as the browser sends them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import lazy_loader
import numpy as np

from segment.data.classes import BACKGROUND
from segment.data.images import Reading
from segment.effects.colouring import recolour
from segment.effects.cutting import cutout
from segment.effects.measuring import measure
from segment.effects.texturing import retexture
from segment.errors import SegmentError
from segment.page.downloads import shown_picture, write_classes, write_result, write_table
from segment.page.photos import SegmentedPhoto, check_photo, segment_photo
from segment.page.tables import agreement_line, legend_table, problem_line, region_csv, region_table
from segment.page.textures import TEXTURES
from segment.prediction.segmenter import Segmenter, to_rgb_tensor

gr: Any = lazy_loader.load("gradio")  # an extra, and its import takes seconds
OWN_PICTURE = "own picture"
"""Choice of a surface that the visitor gives."""
Photos = list[SegmentedPhoto]
"""A visitor's photo as each net sees it, in the order of the nets."""


def _says_mistakes(action: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Make an action on a class show a SegmentError as a sentence in place of its result."""

    @wraps(action)
    def answer(*values: Any) -> list[Any]:
        try:
            return action(*values)
        except SegmentError as error:
            return [gr.HTML(problem_line(str(error)), visible=True), *_no_result()]

    return answer


class Visits:
    """Answer the actions of all visitors.

    Args:
        nets: the nets by the names that the page shows.
        folder: folder for the files that visitors download.
    """

    def __init__(self, nets: Mapping[str, Segmenter], folder: Path) -> None:
        self.nets, self.folder = nets, folder

    def segment(self, photo: Mapping[str, Any] | None, net: str) -> list[Any]:
        """Segment a photo with each net, and show the classes."""
        if not photo:
            return self.forget()
        path = Path(photo["path"])
        name = photo.get("orig_name") or path.name
        try:
            check_photo(path, name)
            photos = [segment_photo(one, path, name) for one in self.nets.values()]
        except SegmentError as error:
            return self.forget(str(error))
        shown = [part for i, seen in enumerate(photos, 1) for part in self._show_net(seen, i)]
        agreement = agreement_line(photos)
        opened = [gr.HTML(visible=False), gr.HTML(agreement, visible=bool(agreement)), gr.Column(visible=True)]
        return [
            gr.skip(),
            photos,
            *opened,
            self.offer_classes(photos, net),
            gr.HTML(visible=False),
            *_no_result(),
            *shown,
        ]

    def forget(self, problem: str = "") -> list[Any]:
        """Show no photo, and the problem with the last one if there is one."""
        hidden = gr.HTML(visible=False)
        shown = [gr.Image(None), hidden, *[gr.DownloadButton(visible=False)] * 3] * len(self.nets)
        line = gr.HTML(problem_line(problem), visible=True) if problem else hidden
        closed = [line, hidden, gr.Column(visible=False), gr.Dropdown([], value=[]), hidden]
        return [gr.Image(None), None, *closed, *_no_result(), *shown]

    def _show_net(self, photo: SegmentedPhoto, number: int) -> list[Any]:
        name = f"{photo.name}_{number}" if len(self.nets) > 1 else photo.name
        files = [gr.DownloadButton(value=path, visible=True) for path in write_classes(photo, name, self.folder)]
        return [shown_picture(photo.found.overlay()), gr.HTML(legend_table(photo), visible=True), *files]

    def offer_classes(self, photos: Photos | None, net: str) -> Any:
        """Offer the classes that a net found; the largest one that is no background is chosen."""
        if not photos:
            return gr.Dropdown([], value=[])
        photo = self._of_net(photos, net)
        names = photo.found.classes.names
        objects = [label for label in photo.labels if names[label] != BACKGROUND]
        return gr.Dropdown([(names[label], label) for label in photo.labels], value=(objects or photo.labels)[:1])

    @_says_mistakes
    def recolour(
        self, photos: Photos | None, net: str, classes: Sequence[int], colour: str, strength: float, edge: float
    ) -> list[Any]:
        """Show the chosen classes in another colour."""
        change = partial(recolour, colour=picked_colour(colour), opacity=strength / 100, feather=edge)
        return self._show_picture(photos, net, classes, "recoloured", change)

    @_says_mistakes
    def retexture(
        self, photos: Photos | None, net: str, classes: Sequence[int],
        surface: str, own: Mapping[str, Any] | None, size: float, edge: float,
    ) -> list[Any]:  # fmt: skip
        """Show the chosen classes with another surface."""
        change = partial(retexture, texture=read_surface(surface, own), scale=size, feather=edge)
        return self._show_picture(photos, net, classes, "new_surface", change)

    @_says_mistakes
    def cutout(self, photos: Photos | None, net: str, classes: Sequence[int], edge: float) -> list[Any]:
        """Show the chosen classes alone."""
        return self._show_picture(photos, net, classes, "cut_out", partial(cutout, feather=edge))

    @_says_mistakes
    def measure(
        self, photos: Photos | None, net: str, classes: Sequence[int], scale: float | None, unit: str
    ) -> list[Any]:
        """Show a table of the connected regions of the chosen classes."""
        photo, chosen = self._of_net(photos, net), _chosen(classes)
        names = photo.found.classes.names
        regions = measure(photo.found.image, photo.found.mask, chosen, scale=scale or 0)
        path = write_table(region_csv(regions, names), f"{photo.name}_regions", self.folder)
        table = region_table(regions, names, unit.strip() or "pixels")
        return _result(gr.Image(None, visible=False), gr.HTML(table, visible=True), path)

    def _show_picture(
        self, photos: Photos | None, net: str, classes: Sequence[int], name: str, change: Callable[..., np.ndarray]
    ) -> list[Any]:
        """Show what a function makes of image, class map and chosen classes, and offer it for download."""
        photo = self._of_net(photos, net)
        picture = change(photo.found.image, photo.found.mask, _chosen(classes))
        path = write_result(picture, f"{photo.name}_{name}", self.folder)
        return _result(gr.Image(shown_picture(picture), visible=True), gr.HTML(visible=False), path)

    def _of_net(self, photos: Photos | None, net: str) -> SegmentedPhoto:
        """Return the photo as a net sees it.

        Raises:
            SegmentError: there is no photo.
        """
        if not photos:
            raise SegmentError("there is no photo any more: choose one first")
        return photos[[*self.nets].index(net)]


def picked_colour(text: str) -> str:
    """Return a colour as browsers send it, "#c2185b" or "rgba(194.3, 24, 91, 1)", as ``#rrggbb``."""
    if not text.startswith("rgb"):
        return text
    red, green, blue = (min(255, round(float(value))) for value in re.findall(r"[\d.]+", text)[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def read_surface(name: str, own: Mapping[str, Any] | None) -> np.ndarray:
    """Return a texture, uint8 (H,W,3): a drawn one, or the visitor's picture.

    Raises:
        SegmentError: the picture is missing, is no image or is too large.
    """
    if name != OWN_PICTURE:
        return TEXTURES[name]()
    if not own:
        raise SegmentError("choose a picture of a surface first")
    path = Path(own["path"])
    check_photo(path, own.get("orig_name") or path.name)
    return to_rgb_tensor(path, Reading()).permute(1, 2, 0).numpy()


def _chosen(classes: Sequence[int]) -> list[int]:
    if not classes:
        raise SegmentError("choose one class or more first")
    return [*classes]


def _result(picture: Any, table: Any, path: Path) -> list[Any]:
    return [gr.HTML(visible=False), picture, table, gr.DownloadButton(value=path, visible=True)]


def _no_result() -> list[Any]:
    return [gr.Image(None, visible=True), gr.HTML(visible=False), gr.DownloadButton(visible=False)]
