"""Masks that any program predicted for the images of a split: finding and reading their files."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from segment.data.array_masks import load_member, load_numpy
from segment.data.classes import IGNORE, Classes
from segment.data.dataset import SegmentationDataset
from segment.data.file_names import nfc
from segment.data.headers import check_regular, open_image
from segment.data.labels import Labels, ranges
from segment.errors import SegmentError
from segment.files import first_names, walk
from segment.prediction.output_files import EXTRAS

SUFFIXES = (".png", ".npy", ".npz")
"""Suffixes of predictions. If an image has several files, the first one in this order is read."""
ARRAYS = ("probabilities", "softmax")
"""Names of the array in an ``.npz`` of this package and of nnU-Net."""
COLOURS = {"RGB", "RGBA"}
"""PIL modes of masks whose colours, and not their values, stand for classes."""
Meaning = Literal["index", "dataset"]


class PredictedMasks:
    """Class indices from files, in place of a net's.

    A file is a PNG of values or of the classes' colours, an ``.npy`` of values (H,W), or an ``.npy`` or ``.npz`` of
    scores (classes,H,W), whose argmax is taken. Values are class indices, or those of the data set's own masks.

    Args:
        folder: folder with ``NAME.png``, ``NAME.npy`` or ``NAME.npz`` for each image, by its id or its file's name.
        dataset: the images.
        classes: classes of the data set.
        meaning: meaning of the values; None to find it out from the files.

    Raises:
        SegmentError: a file is missing or cannot be read, or values have two possible meanings.
    """

    def __init__(
        self, folder: Path, dataset: SegmentationDataset, classes: Classes, meaning: Meaning | None = None
    ) -> None:
        self.folder, self.classes = folder, classes
        self.files, self.further = find_predictions(folder, dataset)
        self._labels = {
            "index": PredictedLabels({k: k for k in range(len(classes))}),
            "dataset": PredictedLabels({v: label for v, label in dataset.labels.table.items() if label != IGNORE}),
        }
        own = self._labels["dataset"]
        counts = Counter(classes.palette)  # two classes may share a colour, which then stands for neither
        palette: dict[Any, int] = {colour: k for k, colour in enumerate(classes.palette) if counts[colour] == 1}
        self._colours = own if own.coloured else PredictedLabels(palette)
        self._class_colours = np.array(classes.palette) @ (1 << 16, 1 << 8, 1)
        self.meaning = meaning or self._find_meaning()
        self._scores = sum(map(_holds_scores, self.files.values()))

    def __call__(self, image: Tensor, id: str) -> Tensor:
        """Return the class indices int64 (H,W) that were predicted for an image (3,H,W).

        Raises:
            SegmentError: the file has another size than the image, or a value that is no class.
        """
        path = self.files[id]
        mask = self._read(path, self.meaning)
        if mask.shape != image.shape[1:]:
            found, expected = (f"{width}x{height}" for height, width in (mask.shape, image.shape[1:]))
            raise SegmentError(f"{path} is {found}, its image {expected} (width x height)")
        return mask.long().to(image.device)

    def describe(self) -> str:
        """Return a description of the files, which is recorded with the metrics."""
        meaning = "class indices" if self.meaning == "index" else "those of the data set's masks"
        argmax = f", for {self._scores} of {len(self.files)} images the argmax of scores, which may be rounded"
        argmax *= self._scores > 0
        return f"masks from files, whose values are {meaning}{argmax}"

    def _read(self, path: Path, meaning: Meaning) -> Tensor:
        """Return the class indices uint8 (H,W) of a file."""
        if path.suffix == ".png":
            labels = self._colours if image_mode(path) in COLOURS else self._labels[meaning]
            return labels.class_indices(labels.read_values(path), path)
        values = load_array(path)
        if values.ndim == 3 and values.dtype.kind in "fbiu":
            return self._best_class(values, path)
        if values.ndim != 2 or values.dtype.kind not in "biu" or path.suffix == ".npz":
            expected = "class indices (H,W) or " * (path.suffix == ".npy") + "probabilities (classes,H,W)"
            raise SegmentError(f"{path} is {values.dtype} {values.shape}: expected {expected}")
        labels = self._labels[meaning]
        if labels.coloured:
            raise SegmentError(f"{path} has one number a pixel, and the data set's masks have colours: expected a PNG")
        if values.size and not 0 <= values.min() <= values.max() <= IGNORE:
            raise labels.unknown_value(path, values.min() if values.min() < 0 else values.max())
        return labels.class_indices(np.ascontiguousarray(values, np.uint8), path)

    def _best_class(self, scores: np.ndarray, path: Path) -> Tensor:
        if len(scores) != len(self.classes):
            raise SegmentError(f"{path} has {len(scores)} score maps, the data set {len(self.classes)} classes")
        if not np.isfinite(scores).all():
            raise SegmentError(f"{path} has probabilities that are no numbers (NaN or infinite)")
        return torch.from_numpy(scores.argmax(0).astype(np.uint8))

    def _find_meaning(self) -> Meaning:
        """Return the only meaning that the values and palettes of all files allow.

        Raises:
            SegmentError: there is none, or there are two.
        """
        own = self._labels["dataset"].table
        possible: set[Meaning] = {"index"} if own == self._labels["index"].table else {"index", "dataset"}
        differ = False
        for path in self.files.values():
            mode = image_mode(path) if path.suffix == ".png" else ""
            if path.suffix == ".npz" or mode in COLOURS or (len(possible) == 1 and mode != "P"):
                continue  # there is nothing to find out
            found = self._allowed(path, possible, mode == "P")
            possible = {*found}
            differ = differ or len({mask.numpy().tobytes() for mask in found.values()}) > 1
        if len(possible) > 1 and differ:
            others = "colours" if self._labels["dataset"].coloured else f"own ({ranges(sorted(own))})"
            raise SegmentError(
                f"the values of the masks in {self.folder} may be class indices (0 to {len(self.classes) - 1}) or the "
                f"data set's {others}: give predictions.labels=index or predictions.labels=dataset"
            )
        return "index" if "index" in possible else "dataset"

    def _allowed(self, path: Path, possible: set[Meaning], palette: bool) -> dict[Meaning, Tensor]:
        """Return the class indices of a file by each meaning that its values, and its palette, allow.

        Raises:
            SegmentError: none is allowed.
        """
        found: dict[Meaning, Tensor] = {}
        for meaning in sorted(possible):
            try:
                found[meaning] = self._read(path, meaning)
            except SegmentError as error:
                reason = error
        if not found:
            raise reason
        if not palette:
            return found
        shown, known = self._colours.read_values(path), self._class_colours
        if not np.isin(shown, known).all():  # a palette of other colours says nothing
            return found
        agreeing = {meaning: mask for meaning, mask in found.items() if np.array_equal(known[mask], shown)}
        if not agreeing:
            raise SegmentError(
                f"the values and the palette of {path} stand for different classes: if the values count, give "
                "predictions.labels=index or predictions.labels=dataset, else save the masks as RGB"
            )
        return agreeing


class PredictedLabels(Labels):
    """The values or colours that stand for classes in predictions: no value is ignored."""

    def class_indices(self, values: np.ndarray, path: Path) -> Tensor:
        """Return the class indices uint8 (H,W) of the values (H,W) of a file.

        Raises:
            SegmentError: a value stands for no class.
        """
        mask, unknown = self.translate(values)
        if unknown:
            raise self.unknown_value(path, next(iter(unknown)))
        return mask

    def unknown_value(self, path: Path, value: int) -> SegmentError:
        """Return the error for a value that stands for no class."""
        if self.coloured:
            colour = f"{value >> 16}/{value >> 8 & 255}/{value & 255}"
            return SegmentError(f"{path} holds the colour {colour}, which stands for no class, or for two")
        expected = f"expected {ranges(sorted(self.table))}"
        if value == IGNORE:
            expected += ", since only the truth may ignore pixels"
        return SegmentError(f"{path} holds the value {value}, which is no class: {expected}")


def image_mode(path: Path) -> str:
    """Return PIL's mode of a mask.

    Raises:
        SegmentError: the file is no image, or has more than 8 bits.
    """
    try:
        with open_image(path) as image:
            mode = image.mode
    except Exception as error:  # a damaged file makes PIL raise all kinds of errors
        raise SegmentError(f"cannot read the mask {path}: {error}") from None
    if mode not in {"P", "L", "1", *COLOURS}:
        raise SegmentError(f"the mask {path} has mode {mode}: expected 8 bits, of indices (P or L) or of colours (RGB)")
    return mode


def load_array(path: Path) -> np.ndarray:
    """Read an ``.npy``, or the only array or the probabilities of an ``.npz``.

    Raises:
        SegmentError: the file cannot be read, or it is not clear which array is meant.
    """
    try:
        check_regular(path)
        content = load_numpy(path, "r")
        if isinstance(content, np.ndarray):
            return content
        with content:
            names = [name for name in ARRAYS if name in content] or content.files
            if len(names) == 1:
                return load_member(content, names[0])
    except Exception as error:  # a damaged file makes NumPy and zipfile raise all kinds of errors
        raise SegmentError(f"cannot read {path}: {error}") from None
    raise SegmentError(f"{path} has the arrays {', '.join(names)}: expected {' or '.join(ARRAYS)}")


def _holds_scores(path: Path) -> bool:
    """Return whether a file holds scores, of which the argmax is taken; of an ``.npy``, only the header is read."""
    return path.suffix == ".npz" or (path.suffix == ".npy" and load_array(path).ndim == 3)


def find_predictions(folder: Path, dataset: SegmentationDataset) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each image by the image's id, and the names of further files.

    Names are compared in Unicode's NFC form: macOS may store "ü" as two characters.

    Raises:
        SegmentError: a file is missing, or one file stands for two images.
    """
    if not folder.is_dir():
        raise SegmentError(f"predictions={folder}: expected a folder of masks")
    names = {path.relative_to(folder).as_posix() for at, files in walk(folder) for path in map(at.joinpath, files)}
    stored = {nfc(name): name for name in sorted(names)}
    found: dict[str, str] = {}
    missing = []
    for i in range(len(dataset)):
        stems = [dataset.id(i), *[sample.image.stem for sample in dataset.samples[i : i + 1]]]
        keys = (nfc(stem + suffix) for stem in stems for suffix in SUFFIXES)
        name = next((stored[key] for key in keys if key in stored), None)
        if name is None:
            missing.append(dataset.id(i))
        elif found.setdefault(name, dataset.id(i)) != dataset.id(i):  # a list may name an image twice
            raise SegmentError(
                f"{folder / name} stands for two images, {found[name]} and {dataset.id(i)}: name it by id"
            )
    if missing:
        raise SegmentError(
            f"{folder} has no prediction for {len(missing)} of {len(dataset)} images: {first_names(missing)}; expected "
            f"{' or '.join(missing[0] + suffix for suffix in SUFFIXES)}"
        )
    extras = {name[: name.rindex(".")] + suffix for name in found for suffix in EXTRAS}
    further = sorted(name for name in names - found.keys() - extras if Path(name).name[0] != ".")
    return {id: folder / name for name, id in found.items()}, further
