"""Segment photos: ``python -m segment.predict checkpoint=FILE input=IMAGE_OR_FOLDER_OR_PATTERN output=FOLDER``."""

import errno
import glob
import hashlib
import json
import os
import warnings
import zlib
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from segment.config import entry_point, instantiate
from segment.errors import SegmentError
from segment.files import printable, user_path, whole_file

if TYPE_CHECKING:
    from segment.segmenter import Segmentation

TAG = "segment"
"""Of a mask's PNG: what it was made of and by; on a line of its own what the files' names end in that belong to it."""


def predict(config: DictConfig) -> None:
    """For each image a palette PNG of class indices, of the image's own size, and what else is asked for."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    from segment.inference import KEPT_BYTES
    from segment.segmenter import load

    extras, inference = find_extras(config), instantiate(config.inference)
    limit = inference.max_memory  # PIL refuses twice this number when it sees the header
    Image.MAX_IMAGE_PIXELS = None if limit is None else int(limit * 2**30 / KEPT_BYTES / 2)
    warnings.filterwarnings("ignore", module="PIL")  # of large images and odd headers
    source, output, checkpoint = (user_path(config[key], key) for key in ("input", "output", "checkpoint"))
    try:
        plan = plan_outputs(*find_images(source, output), output)
    except OSError as error:
        raise SegmentError(f"input={source}: {error.strerror}") from None
    try:
        refuse_others(plan, output, extras)
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SegmentError(f"output={output}: {error.strerror}") from None
    model = load(checkpoint, config.device, inference)
    origin = f"{digest(checkpoint)} {inference.describe()}"
    console, failed, there = Console(stderr=True, soft_wrap=True, highlight=False, markup=False), 0, 0
    for path, name in track(list(plan.items()), "segmenting", console=console):
        try:
            if not path.is_file():
                raise SegmentError(f"cannot read the image {path}: it is no file")
            tag = f"{origin} {path.stat().st_size} {path.stat().st_mtime_ns}"
            if is_done(output, name, extras, tag):
                there += 1
            else:
                write(model.predict(path, config.probabilities), path, output, name, extras, tag)
        except (SegmentError, OSError, RuntimeError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                raise SegmentError(f"cannot write to {output}: {error.strerror}") from None
            failed += 1
            reason = str(error).partition("\n")[0]
            if isinstance(error, SegmentError):
                reason = str(error)
            elif isinstance(error, OSError) and error.strerror:
                reason = f"{path}: {error.filename or output}: {error.strerror}"
            console.print(f"skipped: {printable(reason) or type(error).__name__}", style="yellow")
    done = len(plan) - failed - there
    kinds = ", ".join(f"NAME{suffix}" for suffix in (".png", *extras))
    print(f"{done} image{'s' * (done != 1)} segmented{f', {there} had been before' * (there > 0)}: {output}/{kinds}")
    if failed:
        raise SegmentError(f"{failed} of {len(plan)} images could not be segmented, as said above")


def find_extras(config: DictConfig) -> list[str]:
    """What names end in of the files that are wanted beside the mask.

    Raises:
        SegmentError: a setting is neither true nor false.
    """
    keys = {"_overlay.jpg": "overlay", ".json": "json", ".npz": "probabilities"}
    for key in keys.values():
        if not isinstance(config[key], bool):
            raise SegmentError(f"{key}={config[key]}: expected true or false")
    return [suffix for suffix, key in keys.items() if config[key]]


def find_images(path: Path, output: Path) -> tuple[list[Path], Path]:
    """The image itself, the images directly in a folder or those that a pattern finds, and the folder they share.

    Raises:
        SegmentError: there is none, or they lie where the masks are to go, and masks are images, too.
    """
    from segment.data.images import IMAGE_SUFFIXES

    suffixes = IMAGE_SUFFIXES | {".gif"}
    if path.is_file():
        return [path], path.parent
    if path.is_dir():
        try:
            found = list(path.iterdir())
        except OSError as error:
            raise SegmentError(f"input={path}: {error.strerror}") from None
    elif glob.has_magic(str(path)):
        found = [Path(name) for name in glob.iglob(str(path), recursive=True)]
    else:
        raise SegmentError(f"input={path}: no such file or folder")
    named = path.suffix if glob.has_magic(path.name) and not glob.has_magic(path.suffix) else ""  # by the pattern
    images = sorted(p for p in set(found) if p.suffix.lower() in suffixes or (named and p.suffix == named))
    images = [p for p in images if not p.is_dir() and not p.name.startswith(".")]
    if "**" in path.parts:
        circles = {folder for folder in {parent for p in images for parent in p.parents} if leads_up(folder)}
        images = [p for p in images if circles.isdisjoint(p.parents)]
    target = Path(os.path.realpath(output))  # Path.resolve gives up at links that go round in a circle
    base = path if path.is_dir() else Path(os.path.commonpath([p.parent for p in images])) if images else path
    if base.resolve() == target:
        raise SegmentError(f"output={output} is where the images are: choose another folder, for masks are images, too")
    images = [p for p in images if target not in Path(os.path.realpath(p)).parents]
    if not images:
        kinds = f" ({', '.join(sorted(suffixes))})"
        raise SegmentError(f"input={path}: no image {f'in this folder{kinds}' if path.is_dir() else 'matches'}")
    return images, base


def leads_up(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in, in which all images are found again."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(os.path.realpath(folder))


def plan_outputs(images: list[Path], base: Path, output: Path) -> dict[Path, str]:
    """What each image's outputs are called below ``output``: its name and sub-folder; the suffix, too, where others
    differ from it in that alone.

    Raises:
        SegmentError: an output would overwrite an input.
    """
    names = [str(image.relative_to(base)) for image in images]
    stems = [str(image.relative_to(base).with_suffix("")) for image in images]
    taken = Counter(stems) + Counter(names)
    plan = {image: stem if taken[stem] == 1 else name for image, stem, name in zip(images, stems, names, strict=True)}
    inputs = {os.path.realpath(image) for image in images}
    for name in plan.values():
        for target in (output / f"{name}.png", output / f"{name}_overlay.jpg"):
            if os.path.realpath(target) in inputs:
                raise SegmentError(f"output={output}: {target} would overwrite an input; choose another folder")
    return plan


def refuse_others(plan: dict[Path, str], output: Path, extras: list[str]) -> None:
    """Keep what somebody else put where the outputs are to go.

    Raises:
        SegmentError: there is a file by such a name that is not of our making.
    """
    for name in plan.values():
        there = [suffix for suffix in (".png", *extras) if os.path.lexists(output / f"{name}{suffix}")]
        own = tag_of(output / f"{name}.png")[1] if there else []
        for suffix in there:
            if suffix not in own:
                path = output / f"{name}{suffix}"
                raise SegmentError(f"{path} is there, and not of segment.predict's making: choose another folder")


def tag_of(mask: Path) -> tuple[str, list[str]]:
    """What a mask says it was made of, and the suffixes of all that came with it; nothing if it is none of ours."""
    from PIL import Image

    try:
        with Image.open(mask) as image:
            tag, _, suffixes = str(image.info.get(TAG, "")).partition("\n")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "", []
    return tag, suffixes.split()


def digest(path: Path) -> str:
    """A checkpoint's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_done(output: Path, name: str, extras: list[str], tag: str) -> bool:
    """Whether an image's outputs are there, made of this image by this checkpoint in this way."""
    from segment.data.images import unpack_png

    mask = output / f"{name}.png"
    if not all((output / f"{name}{suffix}").is_file() for suffix in (".png", *extras)):
        return False
    if tag_of(mask)[0] != tag:
        return False
    try:
        unpack_png(mask.read_bytes())
    except (ValueError, zlib.error):
        return False
    return True


def write(found: "Segmentation", image: Path, output: Path, name: str, extras: list[str], tag: str) -> None:
    """Write an image's outputs, and put them in their places together, the mask last: where it is, the others are."""
    import numpy as np
    from PIL.PngImagePlugin import PngInfo

    earlier, suffixes = tag_of(output / f"{name}.png")
    if earlier != tag:  # made of another image, or in another way
        for suffix in {*suffixes} - {".png", *extras}:
            (output / f"{name}{suffix}").unlink(missing_ok=True)
        suffixes = []
    with ExitStack() as stack:  # what is opened first is put in its place last
        mask = stack.enter_context(whole_file(output / f"{name}.png", "wb"))
        note = PngInfo()
        note.add_text(TAG, f"{tag}\n{' '.join(dict.fromkeys(['.png', *extras, *suffixes]))}")
        found.palette_image().save(mask, "PNG", pnginfo=note)
        for suffix in extras:
            file = stack.enter_context(whole_file(output / f"{name}{suffix}", "wb"))
            if suffix == ".json":
                height, width = found.mask.shape
                content = {"image": str(image), "width": width, "height": height, "pixels": found.counts()}
                file.write(json.dumps(content, indent=2, ensure_ascii=False).encode(errors="backslashreplace"))
            elif suffix == ".npz":
                assert found.probabilities is not None
                np.savez_compressed(file, probabilities=found.probabilities, classes=np.array(found.classes.names))
            else:
                found.overlay().save(file, "JPEG", quality=92)


if __name__ == "__main__":
    entry_point("predict", predict)
