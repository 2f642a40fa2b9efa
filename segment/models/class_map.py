"""From scores of low resolution to the class of every pixel, without ever holding all scores at full size."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2**21
"""Scores at full size that a processor core works on at a time: few enough to stay in its cache."""


def class_map(scores: Tensor, height: int, width: int, stride: int | None = None) -> Tensor:
    """The class of the highest score after bilinear enlargement (``align_corners=False``).

    Equal to ``F.interpolate(...).argmax(1)``, float ties aside. Between four neighbouring scores bilinear values are
    means of the four, so a class that is the highest at all of them is so everywhere between them. Only the squares
    whose corners disagree, those on the borders of segments, are interpolated.

    Args:
        scores: (N,C,h,w).
        height, width: of the class map.
        stride: the scores are enlarged by this factor and cut; None if they are stretched to the size.

    Returns:
        int64 (N,height,width).
    """
    maps = []
    for image in scores.detach().float():
        if stride == 1 or image.shape[-2:] == (height, width):
            maps.append(highest(image[None])[0, :height, :width])
        else:
            rows = _Axis(image.shape[-2], height, stride, image.device)
            columns = _Axis(image.shape[-1], width, stride, image.device)
            maps.append(_enlarged(image, rows, columns))
    return torch.stack(maps)


def highest(scores: Tensor) -> Tensor:
    """argmax over the classes of (N,C,...), the first one of ties: int64 (N,...).

    On a CPU torch finds the highest value in a window, and its place, many times as fast as along an axis.
    """
    if scores.device.type != "cpu":
        return scores.argmax(1)
    columns = scores.flatten(2)

    def find(part: Tensor) -> Tensor:
        window = part.transpose(1, 2)[:, :, None]  # the positions are the channels, the classes an image's row
        return F.max_pool2d(window, (1, part.shape[1]), return_indices=True)[1][:, :, 0, 0]

    found = _each(find, columns.split(max(1, CHUNK // columns.shape[1]), dim=2))
    return torch.cat(found, dim=1).view(len(scores), *scores.shape[2:])


def _each(work: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    """``work`` on every part, on all of torch's processor cores.

    Each thread does a part alone. Sharing out every small step would have all wait for the slowest, hundreds of times,
    which on a busy machine takes longer than the work.
    """
    threads = min(torch.get_num_threads(), len(parts), 8)
    if threads <= 1 or parts[0].device.type != "cpu":
        return [work(part) for part in parts]
    before, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def alone(part: Tensor) -> Tensor:
        with torch.inference_mode(inference):  # the mode is a thread's own, and so is the number below
            return work(part)

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(before)


class _Axis:
    """Where pixels lie between scores: square i is between the scores i - 1 and i.

    Attributes:
        low, high: the scores around each square; beyond the first and the last it is those two that count.
        weights: (pixels, squares), the share of the high one.
        place: of each of the axis's pixels in ``weights``, flat.
    """

    def __init__(self, cells: int, size: int, stride: int | None, device: torch.device) -> None:
        scale = torch.tensor(1 / stride if stride else cells / size, dtype=torch.float32)  # 32 bits, as torch has it
        position = (torch.arange(size, dtype=torch.float32) + 0.5) * scale - 0.5
        square = (position.floor().long() + 1).clamp(max=cells)
        pixel = torch.arange(size) - torch.searchsorted(square, square)
        weights = torch.zeros(int(pixel.max()) + 1, cells + 1, dtype=torch.float32)
        weights[pixel, square] = position - position.floor()
        squares = torch.arange(cells + 1)
        self.low, self.high = (squares - 1).clamp(min=0).to(device), squares.clamp(max=cells - 1).to(device)
        self.weights, self.place = weights.to(device), (pixel * (cells + 1) + square).to(device)


def _enlarged(scores: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """One image's scores (C,h,w) to its class map."""
    winner = highest(scores[None])[0]
    corners = [winner[y][:, x] for y in (rows.low, rows.high) for x in (columns.low, columns.high)]
    disputed = (corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3])
    squares = disputed.shape
    # All first pixels of the squares, then all second ones: whatever is computed is so for many squares in a row.
    classes = corners[0].short().flatten().repeat(len(rows.weights), len(columns.weights), 1)
    flat, cell = scores.flatten(1), torch.arange(winner.numel(), device=winner.device).view(winner.shape)
    chunk = CHUNK if scores.device.type == "cpu" else 32 * CHUNK
    line = len(scores) * classes.shape[1]  # scores that one row of pixels of a square takes

    def fill(part: Tensor) -> Tensor:
        y, x = part // squares[1], part % squares[1]
        around = torch.cat([cell[j[y], i[x]] for j in (rows.low, rows.high) for i in (columns.low, columns.high)])
        # Scores that are channels last lie together by place, others by class.
        picked = flat.T.index_select(0, around).T.contiguous() if flat.stride(0) == 1 else flat.index_select(1, around)
        values = picked.unflatten(1, (2, 2, -1)).permute(1, 2, 0, 3)  # (2,2,C,squares)
        step = max(1, chunk // (line * len(part)))
        for first in range(0, len(classes), step):
            mixed = torch.lerp(values[:1], values[1:], rows.weights[first : first + step, y][:, None, None])
            mixed = torch.lerp(mixed[:, :1], mixed[:, 1:], columns.weights[:, x][:, None])
            found = highest(mixed.flatten(0, 1)).view(*mixed.shape[:2], -1)
            classes[first : first + step, :, part] = found.short()
        return part

    todo = disputed.flatten().nonzero()[:, 0]
    _each(fill, todo.split(max(64, chunk // (line * len(classes)))) if len(todo) else ())
    classes = classes.unflatten(2, squares).transpose(1, 2).flatten(2).flatten(0, 1)
    return classes[rows.place][:, columns.place].long()
