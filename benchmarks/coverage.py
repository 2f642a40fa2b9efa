"""Coverage of the population's mIoU by the 95 % interval, by simulation.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --counts RUN/per_image.npz

A population of many images is drawn, or taken from an evaluation. Samples of n images are drawn from it, and each gives
an interval. It should cover the population's mIoU over the classes that occur in the sample in 95 % of the samples. No
interval can cover the mIoU over all classes well while classes are missing from the sample, so that is shown beside it.
"""

from pathlib import Path

import numpy as np

from benchmarks.timing import command_line, keep, run
from segment.evaluation.intervals import iou, miou_interval
from segment.records.per_image import read_image_counts
from segment.report import number_from

SIZES = (25, 50, 100, 250)
IMAGES = 20_000
"""Size of a population that is drawn."""
POPULATIONS = {
    "rare classes": (21, 0.01, 0.1),
    "common classes": (11, 0.3, 0.9),
    "150 classes, most of them rare": (150, 0.002, 0.5),
}
"""Number of classes, and the shares of images with the rarest class and with the most common one but the first."""


def draw_population(classes: int, rarest: float, commonest: float, rng: np.random.Generator) -> np.ndarray:
    """Return correct, true and predicted pixels (N,3,C).

    The first class is in every image. Sizes are lognormal. The share of a class that is found varies from image to
    image around the class's own, and pixels are predicted as a class that is there, or now and then as one that is not.
    """
    shares = np.concatenate([[1], np.geomspace(commonest, rarest, classes - 1)])
    present = rng.random((IMAGES, classes)) < shares
    truth = present * (rng.lognormal(8, 1, (IMAGES, classes)) * (1 + 9 * (np.arange(classes) == 0)))
    quality = rng.uniform(0.3, 0.95, classes)
    hits = truth * rng.beta(3 * quality, 3 * (1 - quality), (IMAGES, classes))
    wrong = (present | (rng.random((IMAGES, classes)) < 0.03 * shares)) * rng.lognormal(6, 1, (IMAGES, classes))
    return np.stack([hits, truth, hits + wrong], 1).astype(np.int64)


def coverage(population: np.ndarray, images: int, samples: int, rng: np.random.Generator) -> dict[str, float]:
    """Return how often the interval covers, and its mean length, over samples of so many images."""
    true = iou(population.sum(0))
    hits = np.zeros((samples, 3))
    for i in range(samples):
        counts = population[rng.integers(0, len(population), images)]
        found = miou_interval([counts])
        targets = np.nanmean(true[counts[:, 1:].any((0, 1))]), np.nanmean(true)
        hits[i] = [*(found.low <= target <= found.high for target in targets), found.high - found.low]
    occurring, everything, length = hits.mean(0).tolist()
    return {"classes that occur": occurring, "all classes": everything, "length": length}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--samples", type=number_from(1), default=2000, help="number of samples of each size")
    parser.add_argument("--counts", type=Path, help="per_image.npz of an evaluation, in place of drawn populations")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    if arguments.counts:
        populations = {str(arguments.counts): read_image_counts(arguments.counts).pixels}
    else:
        populations = {name: draw_population(*settings, rng) for name, settings in POPULATIONS.items()}
    print(f"{'share of samples covered, per cent':36}  images  classes that occur  all classes  mean length")
    rows = []
    for name, population in populations.items():
        for images in SIZES:
            row = coverage(population, images, arguments.samples, rng)
            rows.append({"population": name, "images": images, **row})
            covered, everything, length = (100 * value for value in row.values())
            print(f"{name:36}  {images:6}  {covered:18.1f}  {everything:11.1f}  {length:11.1f}")
    print(f"{arguments.samples} samples of each size")
    keep("coverage", rows, "numpy", "scipy")


if __name__ == "__main__":
    run(main)
