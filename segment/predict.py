"""Segment photos: ``python -m segment.predict checkpoint=FILE input=IMAGE_OR_FOLDER_OR_PATTERN output=FOLDER``."""

import errno
import glob
import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from segment.cli.config import entry_point, instantiate
from segment.errors import SegmentError
from segment.files import printable, user_path
from segment.prediction.output_files import EXTRAS, Outputs


def predict(config: DictConfig) -> None:
    """For each image a palette PNG of class indices, of the image's own size, and what else is asked for."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    from segment.prediction.inference import KEPT_BYTES
    from segment.prediction.segmenter import load_segmenter

    extras, inference = find_extras(config), instantiate(config.inference)
    limit = inference.max_memory  # PIL refuses twice this number when it sees the header
    Image.MAX_IMAGE_PIXELS = None if limit is None else int(limit * 2**30 / KEPT_BYTES / 2)
    warnings.filterwarnings("ignore", module="PIL")  # of large images and odd headers
    source, output, checkpoint = (user_path(config[key], key) for key in ("input", "output", "checkpoint"))
    try:
        plan = plan_outputs(*find_images(source, output), output, extras)
    except OSError as error:
        raise SegmentError(f"input={source}: {error.strerror}") from None
    try:
        for outputs in plan.values():
            outputs.refuse_others()
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file, expected a folder" if output.is_file() else error.strerror
        raise SegmentError(f"output={output}: {reason}") from None
    model = load_segmenter(checkpoint, config.device, inference)
    origin = f"{digest(checkpoint)} {inference.describe()}"
    console, failed, there = Console(stderr=True, soft_wrap=True, highlight=False, markup=False), 0, 0
    for path, outputs in track(list(plan.items()), "segmenting", console=console):
        try:
            if not path.is_file():
                raise SegmentError(f"cannot read the image {path}: it is no file")
            tag = f"{origin} {path.stat().st_size} {path.stat().st_mtime_ns}"
            if outputs.are_made_of(tag):
                there += 1
            else:
                outputs.write(model.predict(path, config.probabilities), path, tag)
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
    where = f": {output}/{kinds}" * (done + there > 0)
    print(f"{done} image{'s' * (done != 1)} segmented{f', {there} had been before' * (there > 0)}{where}")
    if failed:
        raise SegmentError(f"{failed} of {len(plan)} images could not be segmented, as said above")


def find_extras(config: DictConfig) -> list[str]:
    """What names end in of the files that are wanted beside the mask.

    Raises:
        SegmentError: a setting is neither true nor false.
    """
    for key in EXTRAS.values():
        if not isinstance(config[key], bool):
            raise SegmentError(f"{key}={config[key]}: expected true or false")
    return [suffix for suffix, key in EXTRAS.items() if config[key]]


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
        found = list(matches(path))
    else:
        problem = "it is neither file nor folder" if os.path.lexists(path) else "no such file or folder"
        raise SegmentError(f"input={path}: {problem}")
    named = path.suffix if glob.has_magic(path.name) and not glob.has_magic(path.suffix) else ""  # by the pattern
    images = sorted(p for p in set(found) if p.suffix.lower() in suffixes or (named and p.suffix == named))
    images = [p for p in images if not p.is_dir() and not p.name.startswith(".")]
    target = Path(os.path.realpath(output))  # Path.resolve gives up at links that go round in a circle
    base = path if path.is_dir() else Path(os.path.commonpath([p.parent for p in images])) if images else path
    if base.resolve() == target:
        raise SegmentError(f"output={output} is where the images are: choose another folder, for masks are images, too")
    images = [p for p in images if target not in Path(os.path.realpath(p)).parents]
    if not images:
        folder = (
            f"in this folder ({', '.join(sorted(suffixes))}); 'input={path}/**/*' finds those in folders below, too"
        )
        raise SegmentError(f"input={path}: no image {folder if path.is_dir() else 'matches'}")
    return images, base


def matches(pattern: Path) -> Iterator[Path]:
    """What a pattern finds; ``**`` follows links, but glob's own would go round in circles of them."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.iglob(str(pattern)))
        return
    at = pattern.parts.index("**")
    head, rest = Path(*pattern.parts[:at]), pattern.parts[at + 1 :] or ("*",)
    for top in map(Path, glob.iglob(str(head))) if at else [head]:
        for folder, names, _ in os.walk(top, followlinks=True):
            names[:] = [name for name in names if name[0] != "." and not leads_up(Path(folder, name))]
            yield from matches(Path(glob.escape(folder), *rest))


def leads_up(folder: Path) -> bool:
    """Whether it is a link to a folder on the way to it, in which all is found again."""
    if not folder.is_symlink():
        return False
    way = [Path(os.path.realpath(parent)) for parent in folder.parents]
    return any(place.is_relative_to(os.path.realpath(folder)) for place in way)


def plan_outputs(images: list[Path], base: Path, output: Path, extras: list[str]) -> dict[Path, Outputs]:
    """The outputs of each image, called below ``output`` by its name and sub-folder; by the suffix, too, where others
    differ from it in that alone.

    Raises:
        SegmentError: an output would overwrite an input.
    """
    names = [str(image.relative_to(base)) for image in images]
    stems = [str(image.relative_to(base).with_suffix("")) for image in images]
    taken = Counter(stems) + Counter(names)
    called = [stem if taken[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]
    plan = {image: Outputs(output / name, extras) for image, name in zip(images, called, strict=True)}
    inputs = {os.path.realpath(image) for image in images}
    for outputs in plan.values():
        for target in (outputs.path(".png"), outputs.path("_overlay.jpg")):
            if os.path.realpath(target) in inputs:
                raise SegmentError(f"output={output}: {target} would overwrite an input; choose another folder")
    return plan


def digest(path: Path) -> str:
    """A checkpoint's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    entry_point("predict", predict)
