"""segmentation_models.pytorch's U-Net on MobileNetV2 with a plain recipe: the peer of benchmarks/quality.py.

    python -m benchmarks.plain_recipe --data camvid --root DIR --weights FILE --output metrics.json

The recipe is an ordinary loop with random scale, crop and flip, AdamW with a lower learning rate for the encoder, one
cycle, and cross-entropy. The images come from our loader and the scores from our metric, so that only nets and recipes
differ.
"""

import json
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import command_line, run
from segment.cli.build import instantiate
from segment.cli.config import load_config
from segment.data.classes import IGNORE
from segment.errors import SegmentError
from segment.evaluation.metrics import SegmentationScores
from segment.models.normalization import NORMALIZATIONS
from segment.models.weights import load_file


class Recipe(NamedTuple):
    """Values that differ between data sets."""

    crop: tuple[int, int]
    encoder_lr: float
    lr: float


RECIPES = {"camvid": Recipe((240, 320), 5e-4, 2e-3), "voc": Recipe((256, 256), 2e-4, 1e-3)}
MEAN, DEVIATION, _ = NORMALIZATIONS["imagenet"]


def normalize(image: Tensor) -> Tensor:
    return (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def make_net(weights: Path, classes: int) -> nn.Module:
    """Return the U-Net with ImageNet weights from a file in torchvision's format.

    Raises:
        SegmentError: the file does not hold the weights of this encoder.
    """
    import segmentation_models_pytorch as smp

    net = smp.Unet("mobilenet_v2", encoder_weights=None, classes=classes)
    try:
        net.encoder.load_state_dict(load_file(weights))
    except (KeyError, RuntimeError):
        raise SegmentError(f"{weights} does not hold the weights of torchvision's mobilenet_v2") from None
    return net


def train(net: nn.Module, data: L.LightningDataModule, recipe: Recipe, epochs: int) -> None:
    rest = [p for name, p in net.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": net.encoder.parameters(), "lr": recipe.encoder_lr}, {"params": rest, "lr": recipe.lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    loader = data.train_dataloader()
    rates = [group["lr"] for group in optimizer.param_groups]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, epochs * len(loader))
    net.train()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            loss = F.cross_entropy(net(normalize(batch["image"])), batch["mask"].long(), ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}", flush=True)


@torch.inference_mode()
def evaluate(net: nn.Module, data: L.LightningDataModule) -> dict:
    """Return the metrics on whole images at their own size, padded to a multiple of 32."""
    scores = SegmentationScores(len(data.classes))
    net.eval()
    for batch in data.val_dataloader():
        height, width = batch["mask"].shape[-2:]
        image = F.pad(normalize(batch["image"]), (0, -width % 32, 0, -height % 32))
        scores.update(net(image)[..., :height, :width].argmax(1), batch["mask"])
    return scores.compute()


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=RECIPES, required=True)
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's mobilenet_v2-*.pth")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of training")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and images")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the metrics")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.data]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    L.seed_everything(arguments.seed, verbose=False)
    crop = f"data.crop_size=[{recipe.crop[0]},{recipe.crop[1]}]"
    overrides = [f"data={arguments.data}", f"data.root={arguments.root}", f"seed={arguments.seed}", crop]
    overrides += ["data.scale=[0.5,1.5]", "data.colour=0", "data.cat_max_ratio=1", "data.batch_size=8"]
    config = load_config(overrides)
    data = instantiate(config.data)
    data.setup("fit")
    net = make_net(arguments.weights, len(data.classes))
    train(net, data, recipe, arguments.epochs)
    arguments.output.write_text(json.dumps(evaluate(net, data)) + "\n")


if __name__ == "__main__":
    run(main)
