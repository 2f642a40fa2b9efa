"""Pairs of images and masks by their files' names."""

import re
import unicodedata
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path

from segment.data.images import IMAGE_SUFFIXES
from segment.data.pairs import Sample
from segment.errors import SegmentError
from segment.files import walk

MASK_SUFFIXES = IMAGE_SUFFIXES | {".gif", ".npy", ".npz"}
FIELDS = {"{name}": "(?P<name>[^/]+)", "{folder}/": "(?:(?P<folder>.+)/)?", "{folder}": "(?P<folder>.+)"}
"""Fields of a pattern of names, each with its regular expression."""


def nfc(name: str) -> str:
    """Return a name in the Unicode form that keyboards write: macOS may store "ü" as two characters."""
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return a name without its letter case and Unicode form."""
    return nfc(nfc(name).casefold())


def without_suffix(name: str) -> tuple[str, str]:
    """Return a file's name or path without the suffix of an image or mask, and that suffix in lower case."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and f".{suffix.lower()}" in MASK_SUFFIXES else (name, "")


class NamePattern:
    """Pattern of a file's path below its folder, such as ``mask_{name}``, ``{name}.png`` or ``{folder}/{name}_mask``.

    Args:
        key: the setting, for error messages.
        text: ``{name}`` is a part of the file's name, ``{folder}`` the path of the folders above it. A suffix is needed
            only where it tells masks from images.

    Raises:
        SegmentError: the text has no field, a field twice, or an unknown one.

    Example:
        >>> NamePattern("data.mask_name", "{folder}/{name}_mask").fill({"folder": "a/b", "name": "1"})
        'a/b/1_mask'
    """

    def __init__(self, key: str, text: str) -> None:
        self.text = nfc(text)
        self.stem, self.suffix = without_suffix(self.text)
        fields = re.findall(r"\{[^{}]*\}", text)
        if not fields or len({*fields}) < len(fields) or {*fields} - FIELDS.keys():
            raise SegmentError(
                f"{key}={text}: expected {{name}}, {{folder}} or both, once each, such as mask_{{name}} or "
                "{folder}/{name}_mask"
            )
        parts = re.split(r"(\{name\}|\{folder\}/?)", self.stem)
        self._regex = re.compile("".join(FIELDS.get(part) or re.escape(part) for part in parts), re.IGNORECASE)

    @property
    def names(self) -> set[str]:
        """Names of the fields: "name", "folder" or both."""
        return {*self._regex.groupindex}

    def fields(self, path: str) -> dict[str, str] | None:
        """Return the fields of a path below the folder; None if it does not have this pattern."""
        stem, suffix = without_suffix(nfc(path))
        found = self._regex.fullmatch(stem)
        return found.groupdict("") if found and self.suffix in {"", suffix} else None

    def fill(self, fields: Mapping[str, str]) -> str:
        """Return the path, without a suffix, that has the given fields."""
        return re.sub(r"\{(name|folder)\}", lambda field: fields[field[1]], self.stem).lstrip("/")

    def files(self, folder: Path) -> dict[str, Path]:
        """Return the files of a folder that have this pattern, by their path below it and in its order."""
        found = below(folder, deep="/" in self.text)
        return {name: path for name, path in found.items() if self.fields(name) is not None}


def name_patterns(image_name: str, mask_name: str) -> tuple[NamePattern, NamePattern]:
    """Return the patterns of images and masks; if the masks lie in sub-folders, the images do.

    Raises:
        SegmentError: a text is no pattern, or a mask's name has a field that its image's name lacks.
    """
    in_folders = "{folder}" in mask_name and "{folder}" not in image_name
    image = NamePattern("data.image_name", "{folder}/" * in_folders + image_name)
    mask = NamePattern("data.mask_name", mask_name)
    if not mask.names <= image.names:
        raise SegmentError(f"data.mask_name={mask_name} has {{name}}, which data.image_name={image_name} lacks")
    return image, mask


def below(folder: Path, deep: bool = True) -> dict[str, Path]:
    """Return the images and masks of a folder by their path below it, without the hidden files that macOS adds."""
    paths = [at / name for at, names in walk(folder) for name in names] if deep else folder.glob("*")
    found = [path for path in sorted(paths) if path.suffix.lower() in MASK_SUFFIXES and path.name[0] != "."]
    return {path.relative_to(folder).as_posix(): path for path in found}


def find_pairs(images: Path, masks: Path, image_name: NamePattern, mask_name: NamePattern) -> list[Sample]:
    """Return the images of a folder with their masks, in the order of their names.

    Letter case, Unicode form and suffix of a mask's name may differ from the image's. Without a folder of masks, the
    images have none. A sample's id is the image's path below its folder, without the suffix.

    Raises:
        SegmentError: there is no image, two files have the same name, two images have the same mask, or none has one.
    """
    found = _image_files(images, masks, image_name, mask_name)
    known: dict[str, dict[str, Path]] = {}
    for name, path in mask_name.files(masks).items():
        known.setdefault(name_key(without_suffix(name)[0]), {})[name] = path
    samples: dict[str, Sample] = {}
    owners: dict[Path, Sample] = {}
    for name, path in found.items():
        wanted = mask_name.fill(image_name.fields(name) or {})
        mask = _choose(known.get(name_key(wanted), {}), wanted, path) or masks / f"{wanted}{mask_name.suffix or '.png'}"
        sample = Sample(nfc(without_suffix(name)[0]), path, mask if masks.is_dir() else None)
        if (other := samples.setdefault(sample.id, sample)) is not sample:
            raise SegmentError(f"{other.image} and {path} have one name: whose is the mask?")
        if (other := owners.setdefault(mask, sample)) is not sample and masks.is_dir():
            raise SegmentError(f"{other.image} and {path} have one mask, {mask}: name them alike in data.mask_name")
    if masks.is_dir() and not any(mask.is_file() for mask in owners):
        raise _no_pairs(images, masks, image_name, mask_name)
    return [*samples.values()]


def _image_files(images: Path, masks: Path, image_name: NamePattern, mask_name: NamePattern) -> dict[str, Path]:
    """Return the images of a folder, which may hold the masks as well, by their path below it."""
    found = {name: path for name, path in image_name.files(images).items() if path.suffix.lower() in IMAGE_SUFFIXES}
    if found and images.resolve() == masks.resolve():
        found = {name: path for name, path in found.items() if mask_name.fields(name) is None}
        if not found:
            raise SegmentError(
                f"images and masks lie in one folder, {images}, so data.mask_name={mask_name.text} has to tell masks "
                f"from images, as {{name}}_mask or {{name}}.png would{polygon_hint(images)}"
            )
    elif masks.is_relative_to(images):
        found = {name: path for name, path in found.items() if masks not in path.parents}
    if not found:
        raise _no_pairs(images, masks, image_name, mask_name)
    return found


def _no_pairs(images: Path, masks: Path, image_name: NamePattern, mask_name: NamePattern) -> SegmentError:
    """Return the error for folders without files, or with files that the patterns do not pair."""
    image, mask = (next(iter(below(folder)), "") for folder in (images, masks))
    if not image:
        return SegmentError(f"no image in {images} ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if not mask:
        return SegmentError(f"no mask in {masks} ({', '.join(sorted(MASK_SUFFIXES))}){polygon_hint(masks, images)}")
    way = f"set {suggest_patterns(image, mask)}"
    if "/" in mask and "/" not in image:
        way = f"lay images and masks in folders alike, or set data.masks={masks.name}/{mask.rpartition('/')[0]}"
    return SegmentError(
        f"no image in {images} has a mask in {masks} by data.image_name={image_name.text} and data.mask_name="
        f"{mask_name.text}: for {image} and {mask}, {way}"
    )


def polygon_hint(*folders: Path) -> str:
    """Return a note on the polygon files (.json) in the first of the folders that has one; empty if none has."""
    path = next((path for folder in folders for path in sorted(folder.glob("**/*.json"))), None)
    if path is None:
        return ""
    return f"; {path.name} is no mask: data=annotations reads the files of LabelMe, COCO and Label Studio"


def _choose(candidates: Mapping[str, Path], wanted: str, image: Path) -> Path | None:
    """Return the mask of an image: the only candidate, or the only one whose name agrees in letter case as well."""
    same = {name: path for name, path in candidates.items() if nfc(without_suffix(name)[0]) == wanted}
    paths = [*(same or candidates).values()]
    if len(paths) > 1:
        suffixes = dict.fromkeys(path.suffix.lower() for path in paths)
        hint = f", or name the right one with data.mask_name={{name}}{paths[0].suffix}" if len(suffixes) > 1 else ""
        raise SegmentError(
            f"{paths[0]} and {paths[1]} have one name: which is the mask of {image}? Remove the other{hint}"
        )
    return paths[0] if paths else None


def suggest_patterns(image: str, mask: str) -> str:
    """Return the settings of the names' patterns by which an image and its mask would be found, given their paths."""
    (image, _), (mask, suffix) = map(without_suffix, (image, mask))
    stems = [path.rpartition("/")[::2] for path in (image, mask)]
    match = SequenceMatcher(None, stems[0][1], stems[1][1], autojunk=False).find_longest_match()
    name = _without_parts_of_words(stems[0][1], stems[1][1], match.a, match.b, match.size).strip("_-. ")
    settings = []
    for key, (folder, stem) in zip(("image_name", "mask_name"), stems, strict=True):
        pattern = ("{folder}/" if folder else "") + (stem.replace(name, "{name}", 1) if name else "{name}")
        if without_suffix(pattern)[1]:  # a mask's name may have its image's suffix: 1.jpg.png
            pattern += suffix
        settings += [f"data.{key}={pattern}"] if pattern != "{name}" or key == "mask_name" else []
    return " ".join(settings)


def _without_parts_of_words(one: str, other: str, start: int, at: int, size: int) -> str:
    """Return what two names share, without letters at its ends that begin or end different words in both names."""
    name, end = one[start : start + size], (one[start + size :][:1], other[at + size :][:1])
    if all(map(str.isalpha, end)):  # a_left and a_label share "a_l"
        name = re.sub(r"[^\W\d_]+$", "", name) or name
    if all(map(str.isalpha, (one[:start][-1:], other[:at][-1:]))):
        name = re.sub(r"^[^\W\d_]+", "", name) or name
    return name
