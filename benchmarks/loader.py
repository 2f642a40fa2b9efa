"""The loader's images per second beside three peers, on the same files and with the same operations.

Each side reads VOC's JPEGs and palette masks, scales by 0.5 to 2, crops to 512x512 (padding with the mean colour and
255), flips, and returns normalised float batches of 8 with int64 masks. Our batches go to the device as bytes and are
normalised there. So ours and albumentations, the fastest peer, are also measured without normalisation ("bytes"). There
is one process with one thread and no cache, and the sides take turns.

    python -m benchmarks.loader --root DIR      # DIR holds VOCdevkit/VOC2012
"""

import itertools
import statistics
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.timing import command_line, keep, ratio, run, take_turns
from segment.data.classes import voc_palette
from segment.data.dataset import identity_collate
from segment.data.datasets.voc import VOCDataModule
from segment.data.samplers import Draw
from segment.data.transforms import MEAN_COLOUR
from segment.models.decoders.fcn import FCNDecoder
from segment.models.encoders.mobilenet import MobileNetV2Encoder
from segment.models.net import SegmentationNet
from segment.models.normalization import NORMALIZATIONS
from segment.report import number_from

CROP, BATCH = 512, 8
GRAIN = 20
"""Amplitude of the noise in drawn images, in grey values; more noise makes decoding slower."""
OURS = ("segment", "segment, bytes")
MEAN, DEVIATION, _ = NORMALIZATIONS["imagenet"]


class Pairs(Dataset):
    """Files of a split, read by a peer's pipeline from two paths to normalised image and mask."""

    def __init__(self, samples: list, pipeline: Callable) -> None:
        self.samples, self.pipeline = samples, pipeline

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        sample = self.samples[index]
        image, mask = self.pipeline(sample.image, sample.mask)
        return {"image": image, "mask": mask}


def torchvision_reference() -> Callable:
    """Return the training preset of torchvision's references/segmentation, with transforms v2 on PIL images."""
    flip = v2.RandomHorizontalFlip(0.5)
    fill = {Image.Image: MEAN_COLOUR, tv_tensors.Mask: 255}
    crop = v2.RandomCrop(CROP, pad_if_needed=True, fill=fill)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float, scale=True)])
    normalize = v2.Normalize([m / 255 for m in MEAN], [d / 255 for d in DEVIATION])

    def pipeline(image_path: Path, mask_path: Path) -> tuple:
        image = Image.open(image_path).convert("RGB")
        mask = tv_tensors.Mask(np.array(Image.open(mask_path)))
        short = min(image.size)
        resize = v2.RandomResize(short // 2, 2 * short, antialias=True)
        image, mask = crop(*flip(*resize(image, mask)))
        return normalize(to_tensor(image)).as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor).long()

    return pipeline


def albumentations(normalized: bool = True) -> Callable:
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    transform = A.Compose(
        [
            A.RandomScale((-0.5, 1.0), p=1),
            A.PadIfNeeded(CROP, CROP, fill=MEAN_COLOUR, fill_mask=255, position="random"),
            A.RandomCrop(CROP, CROP),
            A.HorizontalFlip(p=0.5),
            *[A.Normalize([m / 255 for m in MEAN], [d / 255 for d in DEVIATION])] * normalized,
            A.ToTensorV2(),
        ]
    )

    def pipeline(image_path: Path, mask_path: Path) -> tuple:
        image = cv2.cvtColor(cv2.imread(str(image_path)), cv2.COLOR_BGR2RGB)
        out = transform(image=image, mask=np.array(Image.open(mask_path)))
        return out["image"], out["mask"].long()

    return pipeline


def mmsegmentation() -> Callable:
    ops = types.ModuleType("mmcv.ops")  # the compiled part, which mmcv-lite lacks
    ops.point_sample = None  # type: ignore[attr-defined]
    sys.modules["mmcv.ops"] = ops
    from mmcv.transforms import Compose, LoadImageFromFile, Normalize, Pad, RandomFlip, RandomResize
    from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, RandomCrop

    load, rest = (
        LoadImageFromFile(),
        [
            LoadAnnotations(),
            RandomCrop(crop_size=(CROP, CROP)),
            RandomFlip(prob=0.5),
            Normalize(MEAN, DEVIATION, to_rgb=True),
            Pad(size=(CROP, CROP), pad_val={"img": 0, "seg": 255}),
            PackSegInputs(),
        ],
    )
    rest = rest[:1], Compose(rest[1:])

    def pipeline(image_path: Path, mask_path: Path) -> tuple:
        item = {
            "img_path": str(image_path),
            "seg_map_path": str(mask_path),
            "seg_fields": [],
            "reduce_zero_label": False,
        }
        item = rest[0][0](load(item))
        height, width = item["img"].shape[:2]
        item = RandomResize(scale=(width, height), ratio_range=(0.5, 2.0), keep_ratio=True)(item)
        out = rest[1](item)
        return out["inputs"], out["data_samples"].gt_sem_seg.data[0].long()

    return pipeline


def ours(data: VOCDataModule, normalized: bool) -> Callable:
    """Return a loader of the data module's batches: as bytes, or normalised by the net on the device."""
    dataset = data.dataset("train", augment=True)
    net = SegmentationNet(MobileNetV2Encoder(None), FCNDecoder, num_classes=21)

    def loader(epoch: int):
        draws = [Draw(i, epoch) for i in range(len(dataset))]
        for batch in DataLoader(dataset, BATCH, sampler=draws, collate_fn=identity_collate):
            yield {"image": net.normalize(batch["image"]), "mask": batch["mask"].long()} if normalized else batch

    return loader


def draw_photo(
    rng: np.random.Generator, size: tuple[int, int], labels: Sequence[int]
) -> tuple[Image.Image, Image.Image]:
    """Return blurred noise of this (width, height) as an image, and a mask of 8x6 blocks of these labels."""
    width, height = size
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = np.asarray(coarse, np.int16) + rng.integers(-GRAIN, GRAIN + 1, (height, width, 1), np.int16)
    mask = Image.fromarray(rng.choice(labels, (6, 8)).astype(np.uint8))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8)), mask.resize(size, Image.Resampling.NEAREST)


def draw(root: Path, count: int) -> None:
    """Write pairs of VOC's size and layout, to replace VOC: blurred noise of as many bytes as a photo, 90 KB."""
    rng = np.random.default_rng(0)
    base = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names = [f"2007_{i:06d}" for i in range(count)]
    for name in names:
        image, mask = draw_photo(rng, (500, 375), [0] * 14 + [3, 9, 12, 15, 20, 255])
        image.save(base / f"JPEGImages/{name}.jpg", quality=90)
        mask.putpalette([value for colour in voc_palette(256) for value in colour])
        mask.save(base / f"SegmentationClass/{name}.png")
    for split in ("train", "val"):
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--root", help="folder that holds VOCdevkit/VOC2012; by default, pairs of VOC's size are drawn")
    parser.add_argument("--images", type=number_from(BATCH), default=200, help="images of a run")
    parser.add_argument("--runs", type=number_from(1), default=5, help="runs of each side")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.root is None:
            draw(Path(folder), arguments.images)
        compare(arguments.root or folder, arguments.images, arguments.runs)


def compare(root: str, images: int, runs: int) -> None:
    """Measure all sides and print the table."""
    data = VOCDataModule(root, batch_size=BATCH, num_workers=0, crop_size=(CROP, CROP))
    dataset = data.dataset("train", augment=True)
    dataset.samples = dataset.samples[:images]
    sides: dict[str, Callable] = {"segment": ours(data, True), "segment, bytes": ours(data, False)}
    for name, make in (
        ("torchvision reference", torchvision_reference),
        ("albumentations", albumentations),
        ("albumentations, bytes", partial(albumentations, False)),
        ("mmsegmentation", mmsegmentation),
    ):
        try:
            peer = Pairs(dataset.samples, make())
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        sides[name] = lambda epoch, peer=peer: DataLoader(peer, BATCH)
    described = {name: describe(list(loader(0))) for name, loader in sides.items()}
    epochs = itertools.count(1)
    seconds = take_turns(
        {name: lambda loader=loader: [None for _ in loader(next(epochs))] for name, loader in sides.items()},
        runs,
    )
    rates = {name: len(dataset) / statistics.median(values) for name, values in seconds.items()}
    print(f"{'':22} images/s    mean  deviation   void  background")
    for name, rate in rates.items():
        mean, deviation, void, background = described[name]
        cells = f"{mean:6.3f}  {deviation:9.3f}  {void:5.3f}  {background:10.3f}"
        print(f"{name:22} {rate:8.0f}  {cells}")
    rows: list[dict] = [
        {"what": name, "images_per_second": rate, "statistics": described[name].tolist()}
        for name, rate in rates.items()
    ]
    peers = [name for name in rates if name not in OURS]
    for name, end, goal in (("segment", "", 1.35), ("segment, bytes", ", bytes", 1.15), ("segment, bytes", "", None)):
        best = max((p for p in peers if p.endswith(", bytes") == bool(end)), key=rates.__getitem__, default=None)
        if best:
            times = 1 / ratio(seconds, name, best)
            rows.append({"what": f"{name} / {best}", "times": times} | ({"goal": goal} if goal else {}))
            print(f"{name} delivers {times:.2f} times the images of {best}")
    keep("loader", rows, "torchvision", "albumentations", "mmsegmentation")
    print(f"medians of {runs} runs of {len(dataset)} images, one core, torch {torch.__version__}")


def describe(batches: list) -> np.ndarray:
    """Return mean and deviation of all pixels but void, the share of void, and that of background in the rest."""
    image = torch.cat([batch["image"] for batch in batches])
    if image.dtype == torch.uint8:
        image = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    mask = torch.cat([batch["mask"] for batch in batches])
    pixels = image.permute(0, 2, 3, 1)[mask != 255]
    void, background = (mask == 255).float().mean(), (mask == 0).sum() / (mask != 255).sum()
    return np.array([pixels.mean(), pixels.std(), void, background])


if __name__ == "__main__":
    run(main)
