"""Segment photos: ``python -m segment.predict checkpoint=FILE input=IMAGE_OR_FOLDER output=FOLDER``."""

from pathlib import Path

from omegaconf import DictConfig

from segment.config import entry_point
from segment.errors import SegmentError


def predict(config: DictConfig) -> None:
    """For each image a palette PNG of class indices, of the image's own size, and an overlay."""
    import torch
    from lightning.fabric.accelerators import CUDAAccelerator
    from PIL import Image
    from rich.progress import track

    from segment.checkpoint import classes_of, load_checkpoint, load_net
    from segment.data.dataset import read_image
    from segment.visualize import overlay, palette_image

    images = find_images(Path(config.input).expanduser())
    output = Path(config.output).expanduser()
    targets = plan(images, output)
    checkpoint = load_checkpoint(config.checkpoint)
    classes = classes_of(checkpoint)
    net = load_net(checkpoint, config.checkpoint)
    try:
        net.to(torch.device(config.device or ("cuda" if CUDAAccelerator.is_available() else "cpu")))
    except (RuntimeError, AssertionError) as error:
        raise SegmentError(f"device={config.device}: {str(error).splitlines()[0]}") from None
    output.mkdir(parents=True, exist_ok=True)
    for path, (mask_path, overlay_path) in track(list(zip(images, targets, strict=True)), "segmenting"):
        image = read_image(path)
        mask = net.predict(image[None])[0].cpu().numpy()
        palette_image(mask, classes).save(mask_path)
        Image.fromarray(overlay(image.permute(1, 2, 0).numpy(), mask, classes)).save(overlay_path, quality=92)
    print(f"{len(images)} image{'s' if len(images) > 1 else ''} segmented: {output}/NAME.png and NAME_overlay.jpg")


def find_images(path: Path) -> list[Path]:
    """The image itself, or the images directly in a folder, by name.

    Raises:
        SegmentError: there is no such file or no image in the folder.
    """
    from segment.data.dataset import IMAGE_SUFFIXES

    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SegmentError(f"input={path}: no such file or folder")
    images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not images:
        raise SegmentError(f"input={path}: no image in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def plan(images: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Where mask and overlay of each image go; images of one stem keep their suffix in the name.

    Raises:
        SegmentError: an output would overwrite an input.
    """
    stems = [image.stem for image in images]
    names = [image.name if stems.count(image.stem) > 1 else image.stem for image in images]
    targets = [(output / f"{name}.png", output / f"{name}_overlay.jpg") for name in names]
    inputs = {image.resolve() for image in images}
    for target in (path for pair in targets for path in pair):
        if target.resolve() in inputs:
            raise SegmentError(f"output={output}: {target} would overwrite an input; choose another folder")
    return targets


if __name__ == "__main__":
    entry_point("predict", predict)
