"""The class of every pixel from scores of low resolution, without holding the scores at full size."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_SCORES = 2**21
"""Number of full-size scores that a processor core works on at a time: few enough to stay in its cache."""


def class_map(scores: Tensor, height: int, width: int, stride: int | None = None) -> Tensor:
    """Return the class with the highest score of each pixel after bilinear upsampling (``align_corners=False``).

    The result equals ``F.interpolate(...).argmax(1)`` up to rounding. Bilinear values between four neighbouring scores
    are means of the four, so a class that is the highest at all four is the highest everywhere between them. Only
    squares whose corners disagree, those on the borders of segments, are interpolated.

    Args:
        scores: (N,C,h,w).
        height, width: size of the class map.
        stride: factor by which the scores are upsampled before they are cropped; None to resize them to the size.

    Returns:
        int64 (N,height,width).
    """
    maps = []
    for image in scores.detach().float():
        if stride == 1 or image.shape[-2:] == (height, width):
            maps.append(argmax_classes(image[None])[0, :height, :width])
        else:
            rows = _Axis(image.shape[-2], height, stride, image.device)
            columns = _Axis(image.shape[-1], width, stride, image.device)
            maps.append(_image_class_map(image, rows, columns))
    return torch.stack(maps)


def argmax_classes(scores: Tensor) -> Tensor:
    """Return the class with the highest score, the first one of ties: (N,C,...) to int64 (N,...).

    On a CPU torch's max pooling, which returns positions too, is many times as fast as its argmax along an axis.
    """
    if scores.device.type != "cpu":
        return scores.argmax(1)
    columns = scores.flatten(2)

    def pool(part: Tensor) -> Tensor:
        window = part.transpose(1, 2)[:, :, None]  # positions become channels, and classes the row of an image
        return F.max_pool2d(window, (1, part.shape[1]), return_indices=True)[1][:, :, 0, 0]

    classes = _map_on_threads(pool, columns.split(max(1, CHUNK_SCORES // columns.shape[1]), dim=2))
    return torch.cat(classes, dim=1).view(len(scores), *scores.shape[2:])


def _map_on_threads(function: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    """Apply a function to every part, on as many cores as torch may use.

    Each thread works on a part alone. If torch shared out every small operation instead, all threads would wait for the
    slowest hundreds of times, which takes longer than the work on a busy machine.
    """
    threads = min(torch.get_num_threads(), len(parts), 8)
    if threads <= 1 or parts[0].device.type != "cpu":
        return [function(part) for part in parts]
    before, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def run(part: Tensor) -> Tensor:
        with torch.inference_mode(inference):  # each thread has its own mode, and its own number of threads as below
            return function(part)

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(run, parts))
    finally:
        torch.set_num_threads(before)


class _Axis:
    """Interpolation weights along one axis. Square i lies between the scores i - 1 and i.

    Attributes:
        low, high: index of the score before and after each square; at both ends it is the same score twice.
        weights: (pixels, squares), the weight of the score after the square for each pixel in it.
        place: index of each pixel of the axis in the flattened ``weights``.
    """

    def __init__(self, cells: int, size: int, stride: int | None, device: torch.device) -> None:
        scale = torch.tensor(1 / stride if stride else cells / size, dtype=torch.float32)  # 32 bits as torch computes
        position = (torch.arange(size, dtype=torch.float32) + 0.5) * scale - 0.5
        square = (position.floor().long() + 1).clamp(max=cells)
        pixel = torch.arange(size) - torch.searchsorted(square, square)
        weights = torch.zeros(int(pixel.max()) + 1, cells + 1, dtype=torch.float32)
        weights[pixel, square] = position - position.floor()
        squares = torch.arange(cells + 1)
        self.low, self.high = (squares - 1).clamp(min=0).to(device), squares.clamp(max=cells - 1).to(device)
        self.weights, self.place = weights.to(device), (pixel * (cells + 1) + square).to(device)


def _image_class_map(scores: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """Return the class map of one image's scores (C,h,w)."""
    winner = argmax_classes(scores[None])[0]
    corners = [winner[y][:, x] for y in (rows.low, rows.high) for x in (columns.low, columns.high)]
    disputed = (corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3])
    squares = disputed.shape
    # The first pixels of all squares, then all second ones, and so on: each step then handles many squares in a row.
    classes = corners[0].short().flatten().repeat(len(rows.weights), len(columns.weights), 1)
    flat, cell = scores.flatten(1), torch.arange(winner.numel(), device=winner.device).view(winner.shape)
    chunk = CHUNK_SCORES if scores.device.type == "cpu" else 32 * CHUNK_SCORES
    row_scores = len(scores) * classes.shape[1]  # number of scores for one row of pixels of a square

    def fill(part: Tensor) -> Tensor:
        """Interpolate the squares with these indices, and write their classes into ``classes``."""
        y, x = part // squares[1], part % squares[1]
        around = torch.cat([cell[j[y], i[x]] for j in (rows.low, rows.high) for i in (columns.low, columns.high)])
        # In channels last all scores of a cell lie together, otherwise all scores of a class.
        picked = flat.T.index_select(0, around).T.contiguous() if flat.stride(0) == 1 else flat.index_select(1, around)
        values = picked.unflatten(1, (2, 2, -1)).permute(1, 2, 0, 3)  # (2,2,C,squares)
        step = max(1, chunk // (row_scores * len(part)))
        for first in range(0, len(classes), step):
            mixed = torch.lerp(values[:1], values[1:], rows.weights[first : first + step, y][:, None, None])
            mixed = torch.lerp(mixed[:, :1], mixed[:, 1:], columns.weights[:, x][:, None])
            best = argmax_classes(mixed.flatten(0, 1)).view(*mixed.shape[:2], -1)
            classes[first : first + step, :, part] = best.short()
        return part

    border = disputed.flatten().nonzero()[:, 0]
    _map_on_threads(fill, border.split(max(64, chunk // (row_scores * len(classes)))) if len(border) else ())
    classes = classes.unflatten(2, squares).transpose(1, 2).flatten(2).flatten(0, 1)
    return classes[rows.place][:, columns.place].long()
