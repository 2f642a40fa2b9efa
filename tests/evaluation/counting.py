"""Reference implementations in plain Python, and cases with ignored pixels and absent classes."""

import numpy as np
import torch


def metrics_by_hand(prediction: np.ndarray, truth: np.ndarray, classes: int) -> dict:
    """Return the metrics of Long et al. (2015), section 5, counted pixel by pixel."""
    n = [[0] * classes for _ in range(classes)]
    for p, t in zip(prediction.flat, truth.flat, strict=True):
        if t != 255:
            n[t][p] += 1
    t = [sum(n[i]) for i in range(classes)]
    predicted = [sum(n[j][i] for j in range(classes)) for i in range(classes)]
    union = [t[i] + predicted[i] - n[i][i] for i in range(classes)]
    iou = [n[i][i] / union[i] if union[i] else None for i in range(classes)]
    accuracy = [n[i][i] / t[i] for i in range(classes) if t[i]]
    occurring = [value for value in iou if value is not None]
    return {
        "mIoU": sum(occurring) / len(occurring),
        "pixel_accuracy": sum(n[i][i] for i in range(classes)) / sum(t),
        "mean_accuracy": sum(accuracy) / len(accuracy),
        "frequency_weighted_IoU": sum(t[i] * iou[i] for i in range(classes) if t[i]) / sum(t),
        "per_class_IoU": iou,
        "per_class_precision": [n[i][i] / predicted[i] if predicted[i] else None for i in range(classes)],
        "per_class_recall": [n[i][i] / t[i] if t[i] else None for i in range(classes)],
        "per_class_Dice": [2 * n[i][i] / (t[i] + predicted[i]) if union[i] else None for i in range(classes)],
    }


def random_case(seed: int, classes: int = 6, absent: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and labels (3,17,23) with ignored pixels.

    One class is absent from both, and class 2 is absent from the truth.
    """
    rng = np.random.default_rng(seed)
    prediction, truth = rng.integers(0, classes, (2, 3, 17, 23))
    prediction[prediction == absent] = 0
    truth[(truth == absent) | (truth == 2)] = 1
    truth[rng.random(truth.shape) < 0.2] = 255
    return torch.from_numpy(prediction), torch.from_numpy(truth)


def mixed_cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return predictions and labels of five images of different sizes; all pixels of the last one are ignored."""
    found = [tuple(part[0].numpy() for part in random_case(seed)) for seed in range(4)]
    found.append((found[0][0], np.full_like(found[0][1], 255)))
    return [(p[: 9 + i], t[: 9 + i]) for i, (p, t) in enumerate(found)]


def counts_by_hand(classes: int = 6) -> np.ndarray:
    """Return correct, true and predicted pixels (5,3,C) of :func:`mixed_cases`."""
    rows = []
    for prediction, truth in mixed_cases():
        own = np.zeros((classes, classes), np.int64)
        np.add.at(own, (truth[truth != 255], prediction[truth != 255]), 1)
        rows.append([own.diagonal(), own.sum(1), own.sum(0)])
    return np.array(rows)
